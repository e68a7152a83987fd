// Forward: rows of the array, summed by bag.
#include "local.hpp"

namespace gnomon {
namespace GNOMON_ISA {

namespace {

constexpr int64_t AHEAD = 32;  // rows between the one that is read and the one that is fetched

template <class Weight, int LINES, int BLOCK>
GNOMON_INLINE void fetch_row(const Weight* array, const uint64_t* starts) {
  for (int block = 0; block < LINES / BLOCK; ++block) {
    const char* at = reinterpret_cast<const char*>(array + starts[block]);
    constexpr int64_t BYTES = BLOCK * LANES * static_cast<int64_t>(sizeof(Weight));
    for (int64_t byte = 0; byte < BYTES; byte += 64) __builtin_prefetch(at + byte, 0, 2);
    __builtin_prefetch(at + BYTES - 1, 0, 2);  // a block that is not aligned ends in one line more
  }
}

GNOMON_INLINE void write(const Line& line, float* out, bool stream) {
  if (stream) {
    line.stream(out);
  } else {
    line.store(out);
  }
}

// Rows of LINES lines in blocks of BLOCK lines, none wrapped.
template <class Weight, int LINES, int BLOCK>
void pool_lines(const Tile& tile) {
  const Plan& plan = *tile.plan;
  const Bags& bags = *tile.bags;
  const Weight* array = static_cast<const Weight*>(tile.array);
  constexpr int64_t pieces = LINES / BLOCK;
  const uint64_t* next = tile.starts;
  // The driver leaves AHEAD readable starts behind the last.
  for (int64_t k = 0; k < AHEAD; ++k) fetch_row<Weight, LINES, BLOCK>(array, next + k * pieces);
  for (int64_t t = tile.table; t < tile.table_end; ++t) {
    for (int64_t b = tile.sample; b < tile.sample_end; ++b) {
      const int64_t length = bags.length(t, b);
      float* out = tile.out + (b * plan.tables + t) * plan.dim;
      const float* weights =
          bags.weights ? bags.weights + bags.weight_at(plan.tables, t, b, 0) : nullptr;
      Line sum[LINES];
      for (int v = 0; v < LINES; ++v) sum[v] = Line::zero();
      for (int64_t l = 0; l < length; ++l, next += pieces) {
        fetch_row<Weight, LINES, BLOCK>(array, next + AHEAD * pieces);
        Line row[LINES];
        for (int v = 0; v < LINES; ++v) {
          row[v] = Line::load(array + next[v / BLOCK] + v % BLOCK * LANES);
        }
        if (weights) {
          const Line scale = Line::all(weights[l]);
          for (int v = 0; v < LINES; ++v) row[v] = row[v] * scale;
        }
        for (int v = 0; v < LINES; ++v) sum[v] = sum[v] + row[v];
      }
      if (bags.mean && length > 0) {
        const Line count = Line::all(static_cast<float>(length));
        for (int v = 0; v < LINES; ++v) sum[v] = sum[v] / count;
      }
      for (int v = 0; v < LINES; ++v) write(sum[v], out + v * LANES, tile.stream);
    }
  }
}

// Any layout: each row is put together in scratch memory first.
template <class Weight>
void pool_any(const Tile& tile) {
  const Plan& plan = *tile.plan;
  const Bags& bags = *tile.bags;
  const Weight* array = static_cast<const Weight*>(tile.array);
  float* row = tile.scratch;
  float* signs = tile.scratch + plan.dim;
  const uint64_t* next = tile.rows;
  for (int64_t t = tile.table; t < tile.table_end; ++t) {
    for (int64_t b = tile.sample; b < tile.sample_end; ++b) {
      const int64_t length = bags.length(t, b);
      float* out = tile.out + (b * plan.tables + t) * plan.dim;
      for (int64_t i = 0; i < plan.dim; ++i) out[i] = 0.0f;
      for (int64_t l = 0; l < length; ++l, ++next) {
        gather_row(plan, array, *next, row);
        if (plan.signs) {
          signs_of(plan, *next, 0, plan.dim, signs);
          for (int64_t i = 0; i < plan.dim; ++i) row[i] *= signs[i];
        }
        if (bags.weights) {
          const float scale = bags.weights[bags.weight_at(plan.tables, t, b, l)];
          for (int64_t i = 0; i < plan.dim; ++i) row[i] *= scale;
        }
        for (int64_t i = 0; i < plan.dim; ++i) out[i] += row[i];
      }
      if (bags.mean && length > 0) {
        const float count = static_cast<float>(length);
        for (int64_t i = 0; i < plan.dim; ++i) out[i] /= count;
      }
    }
  }
}

template <class Weight, int LINES>
void pool_blocks(const Tile& tile) {
  const int64_t block = tile.plan->piece_size / LANES;
  if (block == LINES) return pool_lines<Weight, LINES, LINES>(tile);
  if constexpr (LINES % 4 == 0) {
    if (block == 4) return pool_lines<Weight, LINES, 4>(tile);
  }
  if constexpr (LINES % 2 == 0) {
    if (block == 2) return pool_lines<Weight, LINES, 2>(tile);
  }
  pool_lines<Weight, LINES, 1>(tile);
}

template <class Weight>
void pool_kind(const Tile& tile) {
  if (!tile.starts) return pool_any<Weight>(tile);
  switch (tile.plan->dim / LANES) {
    case 1: return pool_blocks<Weight, 1>(tile);
    case 2: return pool_blocks<Weight, 2>(tile);
    case 3: return pool_blocks<Weight, 3>(tile);
    case 4: return pool_blocks<Weight, 4>(tile);
    case 6: return pool_blocks<Weight, 6>(tile);
    case 8: return pool_blocks<Weight, 8>(tile);
    default: return pool_blocks<Weight, 16>(tile);
  }
}

}  // namespace

void pool(const Tile& tile) {
  if (tile.kind == Kind::float32) {
    pool_kind<float>(tile);
  } else {
    pool_kind<uint16_t>(tile);
  }
  if (tile.stream) fence();
}

void gather(const Plan& plan, const void* array, Kind kind, uint64_t row, float* out) {
  if (kind == Kind::float32) {
    gather_row(plan, static_cast<const float*>(array), row, out);
  } else {
    gather_row(plan, static_cast<const uint16_t*>(array), row, out);
  }
}

float dot(const float* a, const float* b, int64_t count) {
  Line sum = Line::zero();
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) sum = sum + Line::load(a + i) * Line::load(b + i);
  float total = sum.sum();
  for (; i < count; ++i) total += a[i] * b[i];
  return total;
}

}  // namespace GNOMON_ISA
}  // namespace gnomon
