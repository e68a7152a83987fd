// A slice's summed gradient turned into a step of gradient descent or Adagrad; the sum is left at zero.
#include "local.hpp"

namespace gnomon {
namespace GNOMON_ISA {

namespace {

GNOMON_INLINE bool is_touched(const Update& update, int64_t line) {
  return update.touched[line / 64] >> (line % 64) & 1;
}

// Calls f(first, count) for every run of touched lines; the slice's last line may be a shorter one.
template <class F>
GNOMON_INLINE void each_touched_run(const Update& update, F f) {
  const int64_t words = (update.length + 64 * LANES - 1) / (64 * LANES);
  for (int64_t word = 0; word < words; ++word) {
    uint64_t bits = update.touched[word];
    while (bits) {
      const int begin = __builtin_ctzll(bits);
      const uint64_t beyond = ~(bits >> begin);
      const int lines = beyond ? __builtin_ctzll(beyond) : 64;
      const int64_t first = (word * 64 + begin) * LANES;
      const int64_t rest = update.length - first;
      f(first, rest < lines * LANES ? rest : lines * LANES);
      bits = begin + lines == 64 ? 0 : bits >> (begin + lines) << (begin + lines);
    }
  }
}

template <class Weight>
void descend(Weight* array, const Update& update) {
  const float rate = update.learning_rate;
  const Line rates = Line::all(rate);
  each_touched_run(update, [&](int64_t first, int64_t count) {
    Weight* at = array + first;
    float* sum = update.sum + first;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
      put(at + i, Line::load(at + i) - rates * Line::load(sum + i));
      Line::zero().store(sum + i);
    }
    for (; i < count; ++i) {
      const float step = rate * sum[i];
      put(at + i, as_float(at[i]) - step);
      sum[i] = 0.0f;
    }
  });
}

// One accumulator a weight.
template <class Weight>
void adapt_each(Weight* array, const Update& update) {
  each_touched_run(update, [&](int64_t first, int64_t count) {
    for (int64_t i = first; i < first + count; ++i) {
      const float part = update.sum[i];
      if (part != 0.0f) {
        update.state[i] += part * part;
        const float step =
            update.learning_rate * part / (__builtin_sqrtf(update.state[i]) + update.epsilon);
        put(array + i, as_float(array[i]) - step);
      }
      update.sum[i] = 0.0f;
    }
  });
}

// One accumulator a cell: it gains the mean square of the cell's gradient.
template <class Weight>
void adapt_cells(Weight* array, const Update& update) {
  const int64_t cells = (update.length + update.cell - 1) / update.cell;
  for (int64_t cell = 0; cell < cells; ++cell) {
    const int64_t first = cell * update.cell;
    const int64_t end = first + update.cell < update.length ? first + update.cell : update.length;
    bool any = false;
    for (int64_t line = first / LANES; line <= (end - 1) / LANES && !any; ++line) {
      any = is_touched(update, line);
    }
    if (!any) continue;
    float* sum = update.sum + first;
    const int64_t count = end - first;
    const float squares = dot(sum, sum, count);
    if (squares != 0.0f) {
      update.state[cell] += squares / static_cast<float>(count);
      const float root = __builtin_sqrtf(update.state[cell]) + update.epsilon;
      int64_t i = 0;
      const Line rates = Line::all(update.learning_rate), roots = Line::all(root);
      for (; i + LANES <= count; i += LANES) {
        const Line step = rates * Line::load(sum + i) / roots;
        put(array + first + i, Line::load(array + first + i) - step);
      }
      for (; i < count; ++i) {
        const float step = update.learning_rate * sum[i] / root;
        put(array + first + i, as_float(array[first + i]) - step);
      }
    }
    for (int64_t i = 0; i < count; ++i) sum[i] = 0.0f;
  }
}

template <class Weight>
void apply_to(Weight* array, const Update& update) {
  if (!update.state) {
    descend(array, update);
  } else if (update.cell == 1) {
    adapt_each(array, update);
  } else {
    adapt_cells(array, update);
  }
}

}  // namespace

void apply(const Update& update) {
  if (update.kind == Kind::float32) {
    apply_to(static_cast<float*>(update.array), update);
  } else {
    apply_to(static_cast<uint16_t*>(update.array), update);
  }
}

}  // namespace GNOMON_ISA
}  // namespace gnomon
