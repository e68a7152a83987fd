// What is compiled once for each instruction set: loops over raw memory, without allocation, threads or
// errors. Everything around them (lookup.cpp, gradient.cpp) is compiled once.
#pragma once
#include <cstdint>

#include "bags.hpp"
#include "plan.hpp"

namespace gnomon {

enum class Kind { float32, bfloat16 };  // of the array's weights

// A rectangle of bags, tables [table, table_end) by samples [sample, sample_end), walked table by table.
struct Tile {
  const Plan* plan;
  const Bags* bags;
  int64_t table, table_end, sample, sample_end;
  const void* array;
  Kind kind;
  const uint64_t* starts;  // of each block of each row, in the order of the walk; null: work them out
  const uint64_t* rows;    // global row ids, in the order of the walk (where starts is null)
  float* out;              // (batch, tables, dim)
  bool stream;             // past the caches: the output is larger than they are
  float* scratch;          // (dim,) where starts is null, else unused
};

// A contribution to a slice of the gradient: which piece of which lookup, and where it lies in the slice.
using Entry = uint64_t;
constexpr int POSITION_BITS = 26;
constexpr int64_t POSITION_BIAS = 1 << 16;  // a piece may begin before its slice by less than this

// One slice [begin, begin + length) of the array's gradient, and the contributions to it, in order.
struct Slice {
  const Plan* plan;
  const Entry* entries;
  int64_t count;
  int64_t begin, length;
  const float* gradient;     // (batch, tables, dim)
  const uint32_t* outputs;   // of each lookup: which row of `gradient`
  const uint64_t* rows;      // of each lookup: its global row; null if signs and spans do not need it
  const float* weights;      // of each lookup; null: 1
  const float* divisors;     // of each lookup; null: 1
  float* scratch;            // (dim,)
  float* sum;                // (length,): contributions are added here
  uint64_t* touched;         // a bit for each line of `sum`; null: not wanted
  const char* array;         // the weights that will be updated, to be fetched meanwhile; null: none
  int64_t weight_bytes;
};

struct Update {
  void* array;  // of the slice
  Kind kind;
  float* sum;
  uint64_t* touched;
  int64_t length;
  float learning_rate;
  float* state;  // Adagrad: accumulators of the slice; null: plain gradient descent
  int64_t cell;
  float epsilon;
};

struct Interaction {
  const float* dense;       // (batch, dim)
  const float* embeddings;  // (batch, tables, dim)
  int64_t batch, tables, dim;
  float* out;  // (batch, dim + (tables + 1) tables / 2)
  int64_t row_stride;
};

struct Kernels {
  const char* name;
  void (*pool)(const Tile&);
  void (*gather)(const Plan&, const void* array, Kind, uint64_t row, float* out);
  float (*dot)(const float*, const float*, int64_t);
  void (*accumulate)(const Slice&);
  void (*apply)(const Update&);
  void (*interact)(const Interaction&);
};

// The best kernels for this processor, or the named ones; null if it cannot run those.
const Kernels* kernels();
const Kernels* kernels_named(const char* name);
void use_kernels(const Kernels*);

}  // namespace gnomon
