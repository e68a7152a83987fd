/* The kernels once more, as TensorFlow Lite's reference defines them, with nothing but 64-bit numbers and divisions.
 * Written against the definition and not from the kernels that are tested. */
#ifndef REFERENCE_H
#define REFERENCE_H

#include "kernels.h"

static int64_t round_away(int64_t numerator, int64_t denominator) {
  int64_t half = denominator / 2;
  return numerator >= 0 ? (numerator + half) / denominator : -((-numerator + half) / denominator);
}

/* gemmlowp: the product's nudge is 2^30, or 1 - 2^30 if it is negative, and the division truncates. */
static int64_t rescale(int64_t x, int32_t multiplier, int32_t shift) {
  int64_t product = (int64_t)(int32_t)(shift > 0 ? (uint32_t)x << shift : (uint32_t)x) * multiplier;
  int64_t high = (product + (product >= 0 ? 1ll << 30 : 1 - (1ll << 30))) / (1ll << 31);
  return shift < 0 ? round_away(high, 1ll << -shift) : high;
}

static int8_t limit(int64_t value, int32_t low, int32_t high) {
  return (int8_t)(value < low ? low : value > high ? high : value);
}

static int8_t reference_pixel(const gnomon_conv *p, const int8_t *in, int depthwise, int y, int x, int o) {
  int64_t sum = p->bias[o];
  for (int i = 0; i < p->kernel_h; i++)
    for (int j = 0; j < p->kernel_w; j++) {
      int row = y * p->stride_h - p->pad_top + i * p->dilation_h;
      int column = x * p->stride_w - p->pad_left + j * p->dilation_w;
      if (row < 0 || row >= p->in_h || column < 0 || column >= p->in_w) continue;
      const int8_t *pixel = in + (row * p->in_w + column) * p->in_c;
      if (depthwise)
        sum += (pixel[o / (p->out_c / p->in_c)] + p->in_offset) * p->weights[(i * p->kernel_w + j) * p->out_c + o];
      else
        for (int c = 0; c < p->in_c; c++)
          sum += (pixel[c] + p->in_offset) * p->weights[((o * p->kernel_h + i) * p->kernel_w + j) * p->in_c + c];
    }
  return limit(rescale(sum, p->multiplier[o], p->shift[o]) + p->out_offset, p->act_min, p->act_max);
}

static int8_t reference_row(const gnomon_dense *p, const int8_t *weights, const int8_t *in, int o) {
  int64_t sum = p->bias[o];
  for (int i = 0; i < p->in; i++) sum += (in[i] + p->in_offset) * weights[o * p->in + i];
  return limit(rescale(sum, p->multiplier[o], p->shift[o]) + p->out_offset, p->act_min, p->act_max);
}

static int8_t reference_average(const gnomon_pool *p, const int8_t *in, int y, int x, int c) {
  int64_t sum = 0, count = 0;
  for (int i = 0; i < p->filter_h; i++)
    for (int j = 0; j < p->filter_w; j++) {
      int row = y * p->stride_h - p->pad_top + i, column = x * p->stride_w - p->pad_left + j;
      if (row < 0 || row >= p->in_h || column < 0 || column >= p->in_w) continue;
      sum += in[(row * p->in_w + column) * p->channels + c];
      count++;
    }
  return limit(round_away(2 * sum, 2 * count), p->act_min, p->act_max);
}

static int8_t reference_sum(const gnomon_add *p, int8_t a, int8_t b) {
  int64_t one = rescale((int64_t)(a + p->offset1) << p->left_shift, p->multiplier1, p->shift1);
  int64_t other = rescale((int64_t)(b + p->offset2) << p->left_shift, p->multiplier2, p->shift2);
  return limit(rescale(one + other, p->out_multiplier, p->out_shift) + p->out_offset, p->act_min, p->act_max);
}

#endif
