// Backward: the contributions to one slice of the array's gradient, added in order.
//
// A slice belongs to one thread at a time and its entries are in the order of the lookups, so that sums
// are the same whichever threads there are.
#include "local.hpp"

namespace gnomon {
namespace GNOMON_ISA {

namespace {

constexpr int64_t AHEAD = 8;

struct Where {
  int64_t lookup, piece, position;
};

GNOMON_INLINE Where where(const Slice& slice, Entry entry) {
  const int64_t id = static_cast<int64_t>(entry >> POSITION_BITS);
  const int64_t position =
      static_cast<int64_t>(entry & ((1ull << POSITION_BITS) - 1)) - POSITION_BIAS;
  const int64_t pieces = slice.plan->pieces;
  if (pieces == 1) return {id, 0, position};
  return {id / pieces, id % pieces, position};
}

GNOMON_INLINE void touch(uint64_t* touched, int64_t begin, int64_t end) {
  const int64_t first = begin / LANES, last = (end - 1) / LANES;
  const uint64_t from = ~0ull << (first % 64), to = ~0ull >> (63 - last % 64);
  if (first / 64 == last / 64) {
    touched[first / 64] |= from & to;
    return;
  }
  touched[first / 64] |= from;
  for (int64_t word = first / 64 + 1; word < last / 64; ++word) touched[word] = ~0ull;
  touched[last / 64] |= to;
}

GNOMON_INLINE void add(float* sum, const float* part, int64_t count) {
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    (Line::load(sum + i) + Line::load(part + i)).store(sum + i);
  }
  for (; i < count; ++i) sum[i] += part[i];
}

}  // namespace

void accumulate(const Slice& slice) {
  const Plan& plan = *slice.plan;
  const bool changed = slice.divisors || slice.weights || plan.signs;
  for (int64_t e = 0; e < slice.count; ++e) {
    if (e + AHEAD < slice.count) {
      const Where later = where(slice, slice.entries[e + AHEAD]);
      const char* at = reinterpret_cast<const char*>(
          slice.gradient + slice.outputs[later.lookup] * plan.dim + later.piece * plan.piece_size);
      for (int64_t byte = 0; byte < plan.piece_size * 4; byte += 64) __builtin_prefetch(at + byte, 0, 2);
    }
    const Where here = where(slice, slice.entries[e]);
    int64_t element = here.piece * plan.piece_size;
    int64_t length = plan.dim - element < plan.piece_size ? plan.dim - element : plan.piece_size;
    if (plan.span) {
      const Piece piece = piece_of(plan, slice.rows[here.lookup], here.piece);
      element = piece.element;
      length = piece.length;
    }
    const float* part = slice.gradient + slice.outputs[here.lookup] * plan.dim + element;
    // What lies outside of the slice is another slice's entry.
    const int64_t skipped = here.position < 0 ? -here.position : 0;
    const int64_t begin = here.position + skipped;
    const int64_t room = slice.length - begin;
    const int64_t count = length - skipped < room ? length - skipped : room;
    part += skipped;
    if (changed) {
      float* scratch = slice.scratch;
      float* signs = slice.scratch + plan.dim;
      for (int64_t i = 0; i < count; ++i) scratch[i] = part[i];
      if (slice.divisors) {
        const float divisor = slice.divisors[here.lookup];
        for (int64_t i = 0; i < count; ++i) scratch[i] /= divisor;
      }
      if (plan.signs) {
        signs_of(plan, slice.rows[here.lookup], element + skipped, count, signs);
        for (int64_t i = 0; i < count; ++i) scratch[i] *= signs[i];
      }
      if (slice.weights) {
        const float weight = slice.weights[here.lookup];
        for (int64_t i = 0; i < count; ++i) scratch[i] *= weight;
      }
      part = scratch;
    }
    add(slice.sum + begin, part, count);
    if (slice.touched) touch(slice.touched, begin, begin + count);
    if (slice.array) {
      const char* at = slice.array + begin * slice.weight_bytes;
      for (int64_t byte = 0; byte < count * slice.weight_bytes; byte += 64) {
        __builtin_prefetch(at + byte, 1, 2);
      }
    }
  }
}

}  // namespace GNOMON_ISA
}  // namespace gnomon
