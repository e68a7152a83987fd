// The kernels of one instruction set, to each other.
#pragma once
#include "kernels.hpp"
#include "line.hpp"

namespace gnomon {
namespace GNOMON_ISA {

void pool(const Tile&);
void gather(const Plan&, const void* array, Kind, uint64_t row, float* out);
float dot(const float*, const float*, int64_t);
void accumulate(const Slice&);
void apply(const Update&);
void interact(const Interaction&);

// Copy a row's weights to `out`, wrapped and signed as the layout says.
template <class Weight>
static inline void gather_row(const Plan& plan, const Weight* array, uint64_t row, float* out) {
  for (int64_t c = 0; c < plan.pieces; ++c) {
    const Piece piece = piece_of(plan, row, c);
    uint64_t at = piece.start;
    for (int64_t i = 0; i < piece.length;) {
      if (at >= plan.size) at -= plan.size;
      const int64_t room = static_cast<int64_t>(plan.size - at);
      const int64_t run = piece.length - i < room ? piece.length - i : room;
      for (int64_t k = 0; k < run; ++k) out[piece.element + i + k] = as_float(array[at + k]);
      i += run;
      at += run;
    }
  }
}

}  // namespace GNOMON_ISA
}  // namespace gnomon
