// Backward and fused updates, around the kernels.
//
// The array is cut into slices that fit the second cache. Contributions are sorted by slice, keeping their
// order; then each slice is summed, and updated, by whichever thread is free. So a weight's contributions
// are always added in the order of the lookups, table after table, with any number of threads.
#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "drivers.hpp"
#include "parallel.hpp"

namespace gnomon {

namespace {

constexpr int64_t LANES = 16;
// Weights of a slice: 64 to 256 kB of gradient, and the weights themselves. Small ones stay in the cache,
// many of them cost time.
constexpr int64_t LEAST_SLICE = int64_t{1} << 14, USUAL_SLICE = int64_t{1} << 16;
constexpr int64_t ENOUGH_SLICES = 256, MOST_SLICES = 4096;
constexpr int64_t CHUNK = 4096;  // lookups that one thread hashes at a time

// Memory that is written before it is read: no time is spent on zeros.
template <class T>
class Block {
 public:
  void reserve(int64_t count) {
    if (count <= room_) return;
    delete[] data_;
    data_ = nullptr;
    data_ = new T[count];
    room_ = count;
  }
  ~Block() { delete[] data_; }
  T* data() { return data_; }
  T& operator[](int64_t i) { return data_[i]; }

 private:
  T* data_ = nullptr;
  int64_t room_ = 0;
};

struct Contributions {
  int64_t lookups = 0, slice = 0, slices = 0;
  int shift = -1;           // log2 of `slice` where it is a power of two
  Block<uint64_t> starts;   // (lookups * pieces)
  Block<uint64_t> rows;     // (lookups,), if signs or spans need them
  Block<uint32_t> outputs;  // (lookups,): batch * tables + table
  Block<float> weights, divisors;
  Block<Entry> entries;
  std::vector<int64_t> begins;  // (slices + 1,)
  bool has_rows = false, has_weights = false, has_divisors = false;

  int64_t slice_of(int64_t at) const { return shift >= 0 ? at >> shift : at / slice; }
};

// Calls f(slice, position in it) for each slice that a piece lies in: a piece may cross a boundary, and one
// that wraps goes on from weight 0.
template <class F>
void each_slice(const Plan& plan, const Contributions& all, uint64_t start, int64_t length, F f) {
  const int64_t size = static_cast<int64_t>(plan.size);
  int64_t at = static_cast<int64_t>(start);
  if (at >= size) at -= size;
  const int64_t end = std::min(at + length, size);
  for (int64_t slice = all.slice_of(at); slice * all.slice < end; ++slice) {
    f(slice, at - slice * all.slice);
  }
  if (at + length > size) {
    const int64_t wrapped = at - size;  // negative: where the piece began, seen from weight 0
    for (int64_t slice = 0; slice * all.slice < at + length - size; ++slice) {
      f(slice, wrapped - slice * all.slice);
    }
  }
}

template <class F>
void each_piece(const Plan& plan, Contributions& all, int64_t lookup, F f) {
  for (int64_t c = 0; c < plan.pieces; ++c) {
    int64_t length;
    if (plan.span) {
      length = piece_of(plan, all.rows[lookup], c).length;
      if (length == 0) continue;
    } else {
      length = std::min(plan.piece_size, plan.dim - c * plan.piece_size);
    }
    f(lookup * plan.pieces + c, all.starts[lookup * plan.pieces + c], length);
  }
}

struct Range {
  int64_t begin, end;
};

// Bags [begin, end), table after table, that hold about CHUNK lookups each.
std::vector<Range> chunks_of(const Bags& bags, int64_t bag_count) {
  std::vector<Range> found;
  int64_t begin = 0;
  if (!bags.offsets) {
    const int64_t step = std::max<int64_t>(1, CHUNK / std::max<int64_t>(1, bags.size));
    for (; begin < bag_count; begin += step) found.push_back({begin, std::min(begin + step, bag_count)});
    return found;
  }
  while (begin < bag_count) {
    int64_t end = begin + 1;
    while (end < bag_count && bags.offsets[end + 1] - bags.offsets[begin] <= CHUNK) ++end;
    found.push_back({begin, end});
    begin = end;
  }
  return found;
}

// Rows, starts and outputs of the lookups of a chunk; the first id out of range, if any.
template <Hash H>
Wrong expand_by(const Plan& plan, const Bags& bags, const Range& chunk, Contributions& all) {
  Wrong wrong;
  int64_t n = bags.offsets ? bags.offsets[chunk.begin] : chunk.begin * bags.size;
  int64_t t = chunk.begin / bags.batch, b = chunk.begin % bags.batch;
  for (int64_t bag = chunk.begin; bag < chunk.end; ++bag, ++b) {
    if (b == bags.batch) b = 0, ++t;
    const int64_t length = bags.length(t, b);
    const uint64_t first = plan.first_rows[t], rows = plan.rows(t);
    for (int64_t l = 0; l < length; ++l, ++n) {
      const int64_t id = bags.index(bags.at(t, b, l));
      if (static_cast<uint64_t>(id) >= rows) {
        if (wrong.table < 0) wrong = {t, b, id};
        continue;
      }
      const uint64_t row = first + id;
      all.outputs[n] = static_cast<uint32_t>(b * plan.tables + t);
      for (int64_t c = 0; c < plan.pieces; ++c) {
        all.starts[n * plan.pieces + c] =
            plan.span ? piece_of(plan, row, c).start : start_of<H>(plan, row, c);
      }
      if (all.has_rows) all.rows[n] = row;
      if (all.has_weights) all.weights[n] = bags.weights[bags.weight_at(plan.tables, t, b, l)];
      if (all.has_divisors) all.divisors[n] = static_cast<float>(length);
    }
  }
  return wrong;
}

Wrong expand(const Plan& plan, const Bags& bags, const Range& chunk, Contributions& all) {
  switch (plan.hash) {
    case Hash::identity: return expand_by<Hash::identity>(plan, bags, chunk, all);
    case Hash::mixer: return expand_by<Hash::mixer>(plan, bags, chunk, all);
    default: return expand_by<Hash::modular>(plan, bags, chunk, all);
  }
}

Range lookups_of(const Bags& bags, const Range& chunk) {
  if (bags.offsets) return {bags.offsets[chunk.begin], bags.offsets[chunk.end]};
  return {chunk.begin * bags.size, chunk.end * bags.size};
}

// Sort the contributions by slice; the order within a slice is that of the lookups.
Wrong sort(const Plan& plan, const Bags& bags, int64_t unit, int threads, Contributions& all) {
  const int64_t bag_count = plan.tables * bags.batch;
  all.lookups = bags.offsets ? bags.offsets[bag_count] : bag_count * bags.size;
  const int64_t size = static_cast<int64_t>(plan.size);
  int64_t least = LEAST_SLICE;
  while (least * (least < USUAL_SLICE ? ENOUGH_SLICES : MOST_SLICES) < size) least *= 2;
  all.slice = (least + unit - 1) / unit * unit;
  if ((all.slice & (all.slice - 1)) == 0) all.shift = __builtin_ctzll(all.slice);
  all.slices = (size + all.slice - 1) / all.slice;
  all.has_rows = plan.signs || plan.span;
  all.has_weights = bags.weights != nullptr;
  all.has_divisors = bags.mean;
  all.starts.reserve(all.lookups * plan.pieces);
  all.outputs.reserve(all.lookups);
  if (all.has_rows) all.rows.reserve(all.lookups);
  if (all.has_weights) all.weights.reserve(all.lookups);
  if (all.has_divisors) all.divisors.reserve(all.lookups);

  const std::vector<Range> chunks = chunks_of(bags, bag_count);
  const int64_t chunk_count = static_cast<int64_t>(chunks.size());
  std::vector<int64_t> counts(chunk_count * all.slices, 0);
  std::vector<Wrong> wrongs(chunk_count);
  parallel(chunk_count, threads, [&](int64_t chunk, int) {
    wrongs[chunk] = expand(plan, bags, chunks[chunk], all);
    if (wrongs[chunk].table >= 0) return;
    int64_t* count = counts.data() + chunk * all.slices;
    const Range range = lookups_of(bags, chunks[chunk]);
    for (int64_t n = range.begin; n < range.end; ++n) {
      each_piece(plan, all, n, [&](int64_t, uint64_t start, int64_t length) {
        each_slice(plan, all, start, length, [&](int64_t slice, int64_t) { ++count[slice]; });
      });
    }
  });
  for (const Wrong& wrong : wrongs) {
    if (wrong.table >= 0) return wrong;
  }

  all.begins.assign(all.slices + 1, 0);
  int64_t total = 0;
  for (int64_t slice = 0; slice < all.slices; ++slice) {
    all.begins[slice] = total;
    for (int64_t chunk = 0; chunk < chunk_count; ++chunk) {
      int64_t& count = counts[chunk * all.slices + slice];
      const int64_t here = count;
      count = total;
      total += here;
    }
  }
  all.begins[all.slices] = total;
  all.entries.reserve(total);
  parallel(chunk_count, threads, [&](int64_t chunk, int) {
    int64_t* next = counts.data() + chunk * all.slices;
    const Range range = lookups_of(bags, chunks[chunk]);
    for (int64_t n = range.begin; n < range.end; ++n) {
      each_piece(plan, all, n, [&](int64_t id, uint64_t start, int64_t length) {
        each_slice(plan, all, start, length, [&](int64_t slice, int64_t position) {
          all.entries[next[slice]++] =
              static_cast<Entry>(id) << POSITION_BITS | static_cast<Entry>(position + POSITION_BIAS);
        });
      });
    }
  });
  return {};
}

Slice slice_of(const Plan& plan, Contributions& all, int64_t number, const float* gradient) {
  Slice slice{};
  slice.plan = &plan;
  slice.entries = all.entries.data() + all.begins[number];
  slice.count = all.begins[number + 1] - all.begins[number];
  slice.begin = number * all.slice;
  slice.length = std::min(all.slice, static_cast<int64_t>(plan.size) - slice.begin);
  slice.gradient = gradient;
  slice.outputs = all.outputs.data();
  slice.rows = all.has_rows ? all.rows.data() : nullptr;
  slice.weights = all.has_weights ? all.weights.data() : nullptr;
  slice.divisors = all.has_divisors ? all.divisors.data() : nullptr;
  return slice;
}

}  // namespace

Wrong backward(const Plan& plan, const Bags& bags, const float* gradient, float* total,
               int threads) {
  Contributions all;
  const Wrong wrong = sort(plan, bags, LANES, threads, all);
  if (wrong.table >= 0) return wrong;
  std::vector<std::vector<float>> scratch(std::max(threads, 1));
  parallel(all.slices, threads, [&](int64_t number, int worker) {
    Slice slice = slice_of(plan, all, number, gradient);
    slice.sum = total + slice.begin;
    std::memset(slice.sum, 0, slice.length * sizeof(float));
    if (slice.count == 0) return;
    scratch[worker].resize(2 * plan.dim);
    slice.scratch = scratch[worker].data();
    kernels()->accumulate(slice);
  });
  return {};
}

Wrong update(const Plan& plan, void* array, Kind kind, const Bags& bags, const float* gradient,
             const Step& step, int threads) {
  Contributions all;
  const int64_t unit = step.state ? LANES * step.cell : LANES;
  const Wrong wrong = sort(plan, bags, unit, threads, all);
  if (wrong.table >= 0) return wrong;
  struct Memory {
    std::vector<float> sum, scratch;
    std::vector<uint64_t> touched;
  };
  std::vector<Memory> memories(std::max(threads, 1));
  const int64_t weight_bytes = kind == Kind::float32 ? 4 : 2;
  parallel(all.slices, threads, [&](int64_t number, int worker) {
    Slice slice = slice_of(plan, all, number, gradient);
    if (slice.count == 0) return;
    Memory& memory = memories[worker];
    memory.sum.resize(all.slice, 0.0f);  // left at zero by the update before
    memory.scratch.resize(2 * plan.dim);
    memory.touched.assign((all.slice / LANES + 63) / 64, 0);
    slice.sum = memory.sum.data();
    slice.scratch = memory.scratch.data();
    slice.touched = memory.touched.data();
    slice.array = static_cast<const char*>(array) + slice.begin * weight_bytes;
    slice.weight_bytes = weight_bytes;
    kernels()->accumulate(slice);
    Update change{};
    change.array = static_cast<char*>(array) + slice.begin * weight_bytes;
    change.kind = kind;
    change.sum = slice.sum;
    change.touched = slice.touched;
    change.length = slice.length;
    change.learning_rate = step.learning_rate;
    change.state = step.state ? step.state + slice.begin / step.cell : nullptr;
    change.cell = step.cell;
    change.epsilon = step.epsilon;
    kernels()->apply(change);
  });
  return {};
}

}  // namespace gnomon
