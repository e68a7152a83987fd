/* What the DSP kernels share: unaligned loads, the instructions that C has no word for, and TFLite's double rounding
 * in four instructions. Part of kernels_dsp.c, and of nothing else. */
#ifndef GNOMON_KERNELS_DSP_COMMON_H
#define GNOMON_KERNELS_DSP_COMMON_H

#include <arm_acle.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fixed_point.h"
#include "kernels_dsp_sizes.h"

/* Four bytes from any address. These cores load words unaligned; only LDM and LDRD insist on alignment. */
static inline uint32_t dsp_word(const int8_t *from) {
  uint32_t word;
  memcpy(&word, from, 4);
  return word;
}

/* Bytes 0 and 2 of a word as two int16. */
static inline uint32_t dsp_even(uint32_t word) {
  uint32_t pair;
  __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
  return pair;
}

/* Bytes 1 and 3 of a word as two int16. */
static inline uint32_t dsp_odd(uint32_t word) {
  uint32_t pair;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
  return pair;
}

/* addend + round(a * b / 2^32), half up. */
static inline int32_t dsp_multiply_high(int32_t a, int32_t b, int32_t addend) {
  int32_t result;
  __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(addend));
  return result;
}

/* How one channel's accumulators become outputs.
 *
 * TFLite rounds twice: h = (x * multiplier + 2^30) >> 31, then (h + 2^(right-1) - (h < 0)) >> right. The first is
 * SMMLAR of 2x, whose addend holds the rest: half of the second rounding, the sign, and the output's zero point
 * shifted left by `right`. The sign of x stands for that of h; they differ only where h = 0, and then both give 0. */
typedef struct {
  int32_t multiplier, right, addend;
} dsp_scale;

/* Whether the four instructions are exact for a channel with this shift whose accumulators start from `start`.
 * Nothing may overflow: |accumulator| < 2^30 if |start| <= 2^29 and at most 2^14 products follow; the zero point needs
 * 8 bits above `right`. Also right >= 1, or there is no second rounding whose half could be added. */
static inline int dsp_is_plain_scale(int32_t shift, int32_t start, int32_t products) {
  return (uint32_t)(-1 - shift) < 22u && (uint32_t)start + (1u << 29) <= (1u << 30) && products <= (1 << 14);
}

static inline void dsp_set_scale(dsp_scale *scale, int32_t multiplier, int32_t shift, int32_t out_offset) {
  scale->multiplier = multiplier;
  scale->right = -shift;
  scale->addend = (int32_t)((uint32_t)out_offset << -shift) + (1 << (-shift - 1));
}

/* `doubled` is twice the accumulator. The result fits an int8. */
static inline int32_t dsp_scaled(const dsp_scale *scale, int32_t doubled) {
  int32_t rounded = dsp_multiply_high(doubled, scale->multiplier, scale->addend + (doubled >> 31));
  return __ssat(rounded >> scale->right, 8);
}

/* The same for any multiplier and shift. */
__attribute__((noinline)) static int32_t dsp_requantized(int32_t x, int32_t multiplier, int32_t shift) {
  return gnomon_requantize(x, multiplier, shift);
}

__attribute__((noinline)) static int32_t dsp_finished(int32_t x, int32_t multiplier, int32_t shift,
                                                      int32_t out_offset) {
  return __ssat(dsp_requantized(x, multiplier, shift) + out_offset, 8);
}

/* Every kernel saturates to int8; a narrower range of the activation is a second walk over the output. */
static void dsp_clamp(int8_t *out, int32_t count, int32_t low, int32_t high) {
  if (low <= -128 && high >= 127) return;
  for (int8_t *end = out + count; out < end; out++) *out = (int8_t)gnomon_clamp(*out, low, high);
}

#endif
