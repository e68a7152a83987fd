// Which rows are pooled into which output: src/gnomon/embedding/bags.py, as kernels need it.
#pragma once
#include <cstdint>

#include "plan.hpp"

namespace gnomon {

struct Bags {
  const void* indices;
  bool wide;                          // int64 ids, else int32
  const int64_t* offsets;             // (tables * batch + 1,), or null for bags of one size
  int64_t batch, size;                // samples; rows in a bag if of one size
  int64_t by_sample, by_table, by_l;  // strides of indices in elements, for bags of one size
  const float* weights;               // as indices, contiguous; or null
  bool mean;

  GNOMON_INLINE int64_t length(int64_t table, int64_t sample) const {
    if (!offsets) return size;
    const int64_t bag = table * batch + sample;
    return offsets[bag + 1] - offsets[bag];
  }
  GNOMON_INLINE int64_t index(int64_t at) const {
    return wide ? static_cast<const int64_t*>(indices)[at] : static_cast<const int32_t*>(indices)[at];
  }
  // Where the id of row l of a bag lies, and where its weight does.
  GNOMON_INLINE int64_t at(int64_t table, int64_t sample, int64_t l) const {
    if (offsets) return offsets[table * batch + sample] + l;
    return sample * by_sample + table * by_table + l * by_l;
  }
  GNOMON_INLINE int64_t weight_at(int64_t tables, int64_t table, int64_t sample, int64_t l) const {
    if (offsets) return offsets[table * batch + sample] + l;
    return (sample * tables + table) * size + l;
  }
};

// The first id that is not a row of its table; `table` is -1 while none was found.
struct Wrong {
  int64_t table = -1, sample = 0, id = 0;
};

}  // namespace gnomon
