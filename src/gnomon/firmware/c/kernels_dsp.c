/* The kernels for Cortex-M4, M7 and whatever else has the DSP extension of ARMv7E-M. Linked beside kernels_plain.c,
 * whose weak symbols they replace; maximum pooling and softmax are left to the others. Results are the same, byte for
 * byte.
 *
 * One translation unit of several files: compile this one alone. What the tables of a layer hold:
 *
 *     dense     weights = dense_weights(w), folded = dense_folded(w, bias, in_offset); see firmware/arrange.py
 *     others    weights as in the model, folded as in kernels.h
 *
 * No kernel here reads `bias`. Scratch memory, aligned to four bytes; arrange.py has the same figures in Python:
 *
 *     gnomon_conv_s8         GNOMON_DSP_CONV_SCRATCH(kernel_h * kernel_w * in_c)
 *     gnomon_depthwise_s8    GNOMON_DSP_DEPTHWISE_SCRATCH((out_w - 1) * stride_w + 3) if the window is 3x3, else none
 *     gnomon_dense_s8        GNOMON_DSP_DENSE_SCRATCH(in)
 *
 * Inputs need no alignment. Nothing outside the tensors and the scratch memory is read or written. */
#include "kernels.h"

#include "kernels_dsp_common.h"
#include "kernels_dsp_conv.h"
#include "kernels_dsp_dense.h"
#include "kernels_dsp_depthwise.h"

/* Four channels of a window of at most 255 pixels, as pairs of int16 sums. */
static void dsp_sum_four(const int8_t *from, int32_t rows, int32_t columns, int32_t step, int32_t row_step,
                         uint32_t sums[2]) {
  uint32_t even = 0, odd = 0;
  for (int32_t i = 0; i < rows; i++, from += row_step) {
    const int8_t *at = from;
    for (int32_t j = 0; j < columns; j++, at += step) {
      uint32_t word = dsp_word(at);
      __asm__("sxtab16 %0, %0, %1" : "+r"(even) : "r"(word));
      __asm__("sxtab16 %0, %0, %1, ror #8" : "+r"(odd) : "r"(word));
    }
  }
  sums[0] = even;
  sums[1] = odd;
}

static int8_t dsp_average(int32_t sum, int32_t count) {
  return (int8_t)((sum > 0 ? sum + count / 2 : sum - count / 2) / count);
}

void gnomon_avg_pool_s8(const gnomon_pool *p, const int8_t *in, int8_t *out) {
  int8_t *at = out;
  for (int32_t y = 0; y < p->out_h; y++)
    for (int32_t x = 0; x < p->out_w; x++, at += p->channels) {
      int32_t top = y * p->stride_h - p->pad_top, left = x * p->stride_w - p->pad_left;
      int32_t bottom = top + p->filter_h < p->in_h ? top + p->filter_h : p->in_h;
      int32_t right = left + p->filter_w < p->in_w ? left + p->filter_w : p->in_w;
      top = top < 0 ? 0 : top, left = left < 0 ? 0 : left;
      int32_t rows = bottom - top, columns = right - left, count = rows * columns;
      const int8_t *window = in + (top * p->in_w + left) * p->channels;
      int32_t c = 0;
      for (; c + 4 <= p->channels && count <= 255; c += 4) {
        uint32_t sums[2];
        dsp_sum_four(window + c, rows, columns, p->channels, p->in_w * p->channels, sums);
        at[c] = dsp_average((int16_t)sums[0], count);
        at[c + 1] = dsp_average((int16_t)sums[1], count);
        at[c + 2] = dsp_average((int32_t)sums[0] >> 16, count);
        at[c + 3] = dsp_average((int32_t)sums[1] >> 16, count);
      }
      for (; c < p->channels; c++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < rows; i++)
          for (int32_t j = 0; j < columns; j++) sum += window[(i * p->in_w + j) * p->channels + c];
        at[c] = dsp_average(sum, count);
      }
    }
  dsp_clamp(out, p->out_h * p->out_w * p->channels, p->act_min, p->act_max);
}

/* Of the two scales of an addition TFLite halves the larger one, and has no second rounding there. Halving is exact,
 * so one more shift to the left and one back to the right give the same, with a second rounding like any other. */
static int dsp_is_plain_side(int32_t multiplier, int32_t shift) {
  return shift < 0 || (shift == 0 && multiplier == 1 << 30);
}

static dsp_scale dsp_make_side(int32_t multiplier, int32_t shift) {
  dsp_scale scale;
  dsp_set_scale(&scale, multiplier, shift < 0 ? shift : -1, 0);
  return scale;
}

static inline int32_t dsp_side_scaled(const dsp_scale *scale, int32_t doubled) {
  return dsp_multiply_high(doubled, scale->multiplier, scale->addend + (doubled >> 31)) >> scale->right;
}

static void dsp_add(const gnomon_add *p, const int8_t *a, const int8_t *b, int8_t *out) {
  const dsp_scale one = dsp_make_side(p->multiplier1, p->shift1), other = dsp_make_side(p->multiplier2, p->shift2);
  const int32_t left1 = p->left_shift + 1 + (p->shift1 == 0), left2 = p->left_shift + 1 + (p->shift2 == 0);
  const int32_t offset1 = p->offset1, offset2 = p->offset2;
  dsp_scale scale;
  dsp_set_scale(&scale, p->out_multiplier, p->out_shift, p->out_offset);
  for (int8_t *end = out + p->size; out < end;) {
    int32_t sum = dsp_side_scaled(&one, (*a++ + offset1) << left1);
    sum += dsp_side_scaled(&other, (*b++ + offset2) << left2);
    *out++ = (int8_t)dsp_scaled(&scale, 2 * sum);
  }
}

void gnomon_add_s8(const gnomon_add *p, const int8_t *a, const int8_t *b, int8_t *out) {
  int fast = dsp_is_plain_side(p->multiplier1, p->shift1) && dsp_is_plain_side(p->multiplier2, p->shift2);
  if (fast && p->left_shift <= 20 && dsp_is_plain_scale(p->out_shift, 0, 0)) {
    dsp_add(p, a, b, out);
  } else {
    for (int32_t i = 0; i < p->size; i++) {
      int32_t one = (int32_t)((uint32_t)(a[i] + p->offset1) << p->left_shift);
      int32_t other = (int32_t)((uint32_t)(b[i] + p->offset2) << p->left_shift);
      int32_t sum = dsp_requantized(one, p->multiplier1, p->shift1);
      sum += dsp_requantized(other, p->multiplier2, p->shift2);
      out[i] = (int8_t)dsp_finished(sum, p->out_multiplier, p->out_shift, p->out_offset);
    }
  }
  dsp_clamp(out, p->size, p->act_min, p->act_max);
}
