/* Fixed-point arithmetic of TensorFlow Lite's reference kernels (gemmlowp's definitions), without undefined
 * behaviour: results that overflow wrap. */
#ifndef GNOMON_FIXED_POINT_H
#define GNOMON_FIXED_POINT_H

#include <stdint.h>

/* a * b / 2^31, rounded to nearest with ties away from zero; the one product that overflows saturates. */
static inline int32_t gnomon_multiply_high(int32_t a, int32_t b) {
  if (a == INT32_MIN && b == INT32_MIN) return INT32_MAX;
  int64_t product = (int64_t)a * b;
  int64_t nudge = product >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30);
  return (int32_t)((product + nudge) / ((int64_t)1 << 31));
}

/* x / 2^exponent, rounded to nearest with ties away from zero; 0 <= exponent <= 31. */
static inline int32_t gnomon_divide_by_power(int32_t x, int exponent) {
  int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1);
  int32_t threshold = (mask >> 1) + (x < 0);
  return (x >> exponent) + ((x & mask) > threshold);
}

/* x * multiplier / 2^31 * 2^shift, rounded twice. */
static inline int32_t gnomon_requantize(int32_t x, int32_t multiplier, int shift) {
  int left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
  return gnomon_divide_by_power(gnomon_multiply_high((int32_t)((uint32_t)x << left), multiplier), right);
}

static inline int32_t gnomon_clamp(int32_t value, int32_t least, int32_t most) {
  return value < least ? least : value > most ? most : value;
}

#endif
