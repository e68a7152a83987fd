/* Depthwise convolution, four channels at a time. Part of kernels_dsp.c.
 *
 * For 3x3 windows with stride 1 or 2, four rows of four channels are laid out as pairs of int16: for each column of
 * the padded image and each channel (row 0, row 1), (row 2, row 3). With its nine weights in six words, (w0 w1) and
 * (w1 w2) of each of the window's columns, a channel then yields two rows of outputs by four multiplications a column:
 *
 *     upper += w0 row0 + w1 row1,  upper += w2 row2;   lower += w0 row1,  lower += w1 row2 + w2 row3
 *
 * Other windows are multiplied tap by tap. Padding is the input's zero point, whose products `folded` takes back. */
#ifndef GNOMON_KERNELS_DSP_DEPTHWISE_H
#define GNOMON_KERNELS_DSP_DEPTHWISE_H

#include "kernels_dsp_common.h"

/* A channel. Weights and start are doubled, as dsp_scaled wants accumulators. */
typedef struct {
  uint32_t upper[3], lower[3]; /* weights (w0 w1) and (w1 w2) of the window's columns */
  int32_t start;
  dsp_scale scale;
} dsp_filter;

/* Four channels over one strip. */
typedef struct {
  int32_t below, step; /* bytes of output between rows and between pixels */
  int32_t strip_bytes; /* from the first to behind the last window's first column */
  const uint32_t *strip;
  int8_t *out;
  const dsp_filter *filters_end;
} dsp_strip;

_Static_assert(sizeof(dsp_filter) == 40 && offsetof(dsp_filter, start) == 24, "the kernels below have these figures");

/* Both kernels: r0 filter, r1 strip, r2 out, r3 (and r12) accumulators, r4-r6 upper and r7-r9 lower weights; r10 and
 * r11 a column's pairs, then multiplier and shift. `dsp_strip` is copied to the stack. */
#define DSP_STRIP_BEGIN \
  "push {r4-r11, lr}\n" \
  "ldmia.w r1, {r4-r9}\n" \
  "push {r4-r9}\n" \
  "1: ldr r1, [sp, #12]\n" \
  "ldr r2, [sp, #16]\n" \
  "ldr r3, [sp, #8]\n" \
  "add r3, r1\n" \
  "push {r3}\n" \
  "ldmia.w r0!, {r4-r9}\n" \
  "2: ldr r3, [r0]\n"
/* The next pixel, or the next channel: its pairs are eight bytes further, its outputs one. */
#define DSP_STRIP_END \
  "ldr lr, [sp]\n" \
  "cmp r1, lr\n" \
  "bne 2b\n" \
  "add sp, #4\n" \
  "ldrd r1, r2, [sp, #12]\n" \
  "adds r1, #8\n" \
  "adds r2, #1\n" \
  "strd r1, r2, [sp, #12]\n" \
  "adds r0, #16\n" \
  "ldr r1, [sp, #20]\n" \
  "cmp r0, r1\n" \
  "bne 1b\n" \
  "add sp, #24\n" \
  "pop {r4-r11, pc}\n"
#define DSP_TWO_ROWS(column, upper, lower) \
  "ldrd r10, r11, [r1" column "\n" \
  "smlad r3, " upper ", r10, r3\n" \
  "smlabt r12, " upper ", r10, r12\n" \
  "smlatb r3, " lower ", r11, r3\n" \
  "smlad r12, " lower ", r11, r12\n"
#define DSP_ONE_ROW(column, upper, lower) \
  "ldrd r10, r11, [r1" column "\n" \
  "smlad r3, " upper ", r10, r3\n" \
  "smlatb r3, " lower ", r11, r3\n"

__attribute__((naked, noipa)) static void dsp_filter_two_rows(const dsp_filter *filters __attribute__((unused)),
                                                              const dsp_strip *strip __attribute__((unused))) {
  __asm__ volatile(
      DSP_STRIP_BEGIN
      "mov r12, r3\n"
      DSP_TWO_ROWS("], #32", "r4", "r7")
      DSP_TWO_ROWS("]", "r5", "r8")
      DSP_TWO_ROWS(", #32]", "r6", "r9")
      "ldrd r10, r11, [r0, #4]\n"
      "ldr lr, [r0, #12]\n"
      "add lr, lr, r3, asr #31\n"
      "smmlar r3, r3, r10, lr\n"
      "asrs r3, r11\n"
      "ssat r3, #8, r3\n"
      "strb r3, [r2]\n"
      "ldr lr, [r0, #12]\n"
      "add lr, lr, r12, asr #31\n"
      "smmlar r3, r12, r10, lr\n"
      "asrs r3, r11\n"
      "ssat r3, #8, r3\n"
      "ldrd r10, r11, [sp, #4]\n"
      "strb r3, [r2, r10]\n"
      "add r2, r11\n"
      DSP_STRIP_END);
}

__attribute__((naked, noipa)) static void dsp_filter_row(const dsp_filter *filters __attribute__((unused)),
                                                         const dsp_strip *strip __attribute__((unused))) {
  __asm__ volatile(
      DSP_STRIP_BEGIN
      DSP_ONE_ROW("], #64", "r4", "r7")
      DSP_ONE_ROW(", #-32]", "r5", "r8")
      DSP_ONE_ROW("]", "r6", "r9")
      "ldrd r10, r11, [r0, #4]\n"
      "ldr r12, [r0, #12]\n"
      "add r12, r12, r3, asr #31\n"
      "smmlar r3, r3, r10, r12\n"
      "asrs r3, r11\n"
      "ssat r3, #8, r3\n"
      "strb r3, [r2]\n"
      "ldr r10, [sp, #8]\n"
      "add r2, r10\n"
      DSP_STRIP_END);
}

/* (low half of a, low half of b) and (high half of a, high half of b) of two words with the same four channels in two
 * rows: once sign extended, pairs of channels 0 and 1, then 2 and 3. */
static inline uint32_t dsp_low_halves(uint32_t a, uint32_t b) {
  uint32_t result;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(a), "r"(b));
  return result;
}

static inline uint32_t dsp_high_halves(uint32_t a, uint32_t b) {
  uint32_t result;
  __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(result) : "r"(b), "r"(a));
  return result;
}

static inline uint32_t *dsp_put_pairs(uint32_t *strip, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  uint32_t upper = dsp_low_halves(a, b), lower = dsp_low_halves(c, d);
  strip[0] = dsp_even(upper), strip[1] = dsp_even(lower);
  strip[2] = dsp_odd(upper), strip[3] = dsp_odd(lower);
  upper = dsp_high_halves(a, b), lower = dsp_high_halves(c, d);
  strip[4] = dsp_even(upper), strip[5] = dsp_even(lower);
  strip[6] = dsp_odd(upper), strip[7] = dsp_odd(lower);
  return strip + 8;
}

/* The same for `width` >= 1 columns of four rows that are inside of the image. */
static void dsp_put_rows(uint32_t *strip, const int8_t *from, int32_t row, int32_t step, int32_t width) {
  const uint32_t *end = strip + 8 * width;
  __asm__ volatile(
      "1: add r4, %[from], %[row]\n"
      "ldr r5, [%[from], %[row], lsl #1]\n"
      "ldr r6, [r4, %[row], lsl #1]\n"
      "ldr r4, [r4]\n"
      "ldr r7, [%[from]]\n"
      "add %[from], %[step]\n"
      "pkhbt r8, r7, r4, lsl #16\n"
      "pkhbt r9, r5, r6, lsl #16\n"
      "pkhtb r10, r4, r7, asr #16\n"
      "pkhtb r11, r6, r5, asr #16\n"
      "sxtb16.w r4, r8\n"
      "sxtb16.w r5, r9\n"
      "sxtb16.w r6, r8, ror #8\n"
      "sxtb16.w r7, r9, ror #8\n"
      "sxtb16.w r8, r10\n"
      "sxtb16.w r9, r11\n"
      "sxtb16.w r10, r10, ror #8\n"
      "sxtb16.w r11, r11, ror #8\n"
      "stmia.w %[strip]!, {r4-r11}\n"
      "cmp %[strip], %[end]\n"
      "bne 1b\n"
      : [strip] "+r"(strip), [from] "+r"(from)
      : [row] "r"(row), [step] "r"(step), [end] "r"(end)
      : "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "cc", "memory");
}

/* And for rows of which some are outside. */
__attribute__((noinline)) static void dsp_put_edge(const gnomon_conv *p, uint32_t *strip, const int8_t *in,
                                                   int32_t top, int32_t width) {
  const uint32_t padding = 0x01010101u * (uint8_t)-p->in_offset;
  const int8_t *row[4];
  int32_t step[4];
  for (int32_t i = 0; i < 4; i++) {
    int is_inside = top + i >= 0 && top + i < p->in_h;
    row[i] = is_inside ? in + (top + i) * p->in_w * p->in_c : (const int8_t *)&padding;
    step[i] = is_inside ? p->in_c : 0;
  }
  const int8_t *a = row[0], *b = row[1], *c = row[2], *d = row[3];
  for (int32_t j = 0; j < width; j++, a += step[0], b += step[1], c += step[2], d += step[3])
    strip = dsp_put_pairs(strip, dsp_word(a), dsp_word(b), dsp_word(c), dsp_word(d));
}

/* The columns of padding, which are the same in every strip. */
static void dsp_lay_padding(const gnomon_conv *p, int32_t width, uint32_t *strip) {
  const uint32_t pair = 0x00010001u * (uint16_t)-p->in_offset;
  for (int32_t j = 0; j < width; j++)
    if (j < p->pad_left || j >= p->pad_left + p->in_w)
      for (int32_t i = 0; i < 8; i++) strip[8 * j + i] = pair;
}

static void dsp_set_filter(const gnomon_conv *p, int32_t channel, dsp_filter *f) {
  for (int32_t j = 0; j < 3; j++) {
    const int8_t *w = p->weights + j * p->out_c + channel;
    int32_t w0 = 2 * w[0], w1 = 2 * w[3 * p->out_c], w2 = 2 * w[6 * p->out_c];
    f->upper[j] = dsp_low_halves((uint32_t)w0, (uint32_t)w1);
    f->lower[j] = dsp_low_halves((uint32_t)w1, (uint32_t)w2);
  }
  f->start = 2 * p->folded[channel];
  dsp_set_scale(&f->scale, p->multiplier[channel], p->shift[channel], p->out_offset);
}

/* Channels `channel` to `channel` + 3 of a 3x3 window. */
__attribute__((noinline)) static void dsp_depthwise_3x3(const gnomon_conv *p, int32_t channel, const int8_t *in,
                                                        int8_t *out, uint32_t *strip) {
  const int32_t rows = p->stride_h == 1 ? 2 : 1, in_row = p->in_w * p->in_c, out_row = p->out_w * p->out_c;
  const int32_t right = (p->out_w - 1) * p->stride_w + 3 - p->pad_left, width = p->in_w < right ? p->in_w : right;
  uint32_t *inside = strip + 8 * p->pad_left;
  dsp_filter filters[4];
  dsp_strip laid = {out_row, p->out_c, 32 * p->stride_w * p->out_w, strip, 0, filters + 4};
  for (int32_t i = 0; i < 4; i++) dsp_set_filter(p, channel + i, &filters[i]);
  for (int32_t y = 0; y < p->out_h; y += rows) {
    /* An odd last row is computed together with the one before it, once more. */
    int32_t upper = y + rows > p->out_h ? p->out_h - rows : y, top = upper * p->stride_h - p->pad_top;
    if (top >= 0 && top + 4 <= p->in_h)
      dsp_put_rows(inside, in + top * in_row + channel, in_row, p->in_c, width);
    else
      dsp_put_edge(p, inside, in + channel, top, width);
    laid.out = out + upper * out_row + channel;
    if (rows == 2)
      dsp_filter_two_rows(filters, &laid);
    else
      dsp_filter_row(filters, &laid);
  }
}

/* Four channels of one pixel: rows of taps from `from` on. */
static inline void dsp_add_taps(int32_t sums[4], const int8_t *from, int32_t row, int32_t step, const int8_t *weights,
                                int32_t channels, int32_t height, int32_t width) {
  int32_t sum0 = sums[0], sum1 = sums[1], sum2 = sums[2], sum3 = sums[3];
  for (; height > 0; height--, from += row) {
    const int8_t *at = from;
    for (int32_t j = width; j > 0; j--, at += step, weights += channels) {
      uint32_t pixel = dsp_word(at), weight = dsp_word(weights);
      uint32_t even = dsp_even(pixel), odd = dsp_odd(pixel);
      uint32_t even_weight = dsp_even(weight), odd_weight = dsp_odd(weight);
      sum0 = __smlabb(even, even_weight, sum0);
      sum1 = __smlabb(odd, odd_weight, sum1);
      sum2 = __smlatt(even, even_weight, sum2);
      sum3 = __smlatt(odd, odd_weight, sum3);
    }
  }
  sums[0] = sum0, sums[1] = sum1, sums[2] = sum2, sums[3] = sum3;
}

/* Channels `channel` to `channel` + 3 of any window. */
__attribute__((noinline)) static void dsp_depthwise_taps(const gnomon_conv *p, int32_t channel, const int8_t *in,
                                                         int8_t *out, int fast) {
  const uint32_t padding = 0x01010101u * (uint8_t)-p->in_offset;
  const int32_t row = p->dilation_h * p->in_w * p->in_c, step = p->dilation_w * p->in_c;
  dsp_scale scales[4];
  if (fast)
    for (int32_t i = 0; i < 4; i++)
      dsp_set_scale(&scales[i], p->multiplier[channel + i], p->shift[channel + i], p->out_offset);
  in += channel, out += channel;
  for (int32_t y = 0; y < p->out_h; y++)
    for (int32_t x = 0; x < p->out_w; x++, out += p->out_c) {
      const int32_t top = y * p->stride_h - p->pad_top, left = x * p->stride_w - p->pad_left;
      const int32_t bottom = top + (p->kernel_h - 1) * p->dilation_h;
      const int32_t right = left + (p->kernel_w - 1) * p->dilation_w;
      const int8_t *from = in + (top * p->in_w + left) * p->in_c, *weights = p->weights + channel;
      int32_t sums[4];
      memcpy(sums, p->folded + channel, sizeof sums);
      if (top >= 0 && left >= 0 && bottom < p->in_h && right < p->in_w)
        dsp_add_taps(sums, from, row, step, weights, p->out_c, p->kernel_h, p->kernel_w);
      else
        for (int32_t i = top; i <= bottom; i += p->dilation_h, from += row)
          for (int32_t j = left; j <= right; j += p->dilation_w, weights += p->out_c) {
            int is_inside = i >= 0 && i < p->in_h && j >= 0 && j < p->in_w;
            const int8_t *pixel = is_inside ? from + (j - left) * p->in_c : (const int8_t *)&padding;
            dsp_add_taps(sums, pixel, 0, 0, weights, 0, 1, 1);
          }
      if (fast) {
        out[0] = (int8_t)dsp_scaled(&scales[0], 2 * sums[0]);
        out[1] = (int8_t)dsp_scaled(&scales[1], 2 * sums[1]);
        out[2] = (int8_t)dsp_scaled(&scales[2], 2 * sums[2]);
        out[3] = (int8_t)dsp_scaled(&scales[3], 2 * sums[3]);
      } else {
        for (int32_t i = 0; i < 4; i++)
          out[i] = (int8_t)dsp_finished(sums[i], p->multiplier[channel + i], p->shift[channel + i], p->out_offset);
      }
    }
}

/* One output of any depthwise convolution: fewer than four channels, or several outputs of each. */
__attribute__((noinline)) static int8_t dsp_depthwise_one(const gnomon_conv *p, int32_t channel, const int8_t *in,
                                                          int32_t top, int32_t left) {
  const int8_t *weights = p->weights + channel;
  int32_t sum = p->folded[channel], from = channel / (p->out_c / p->in_c);
  for (int32_t i = 0, y = top; i < p->kernel_h; i++, y += p->dilation_h)
    for (int32_t j = 0, x = left; j < p->kernel_w; j++, x += p->dilation_w, weights += p->out_c) {
      int is_inside = y >= 0 && y < p->in_h && x >= 0 && x < p->in_w;
      sum += (is_inside ? in[(y * p->in_w + x) * p->in_c + from] : -p->in_offset) * *weights;
    }
  return (int8_t)dsp_finished(sum, p->multiplier[channel], p->shift[channel], p->out_offset);
}

void gnomon_depthwise_s8(const gnomon_conv *given, const int8_t *in, int8_t *out, void *scratch) {
  gnomon_conv turned = *given;
  const gnomon_conv *p = &turned;
  if (p->in_w == 1 && p->kernel_w == 1 && p->out_w == 1 && p->pad_left == 0) {
    /* A signal that runs downwards lies in memory like one that runs to the right, whose taps are in one loop. */
    turned.in_w = p->in_h, turned.out_w = p->out_h, turned.kernel_w = p->kernel_h, turned.stride_w = p->stride_h;
    turned.dilation_w = p->dilation_h, turned.pad_left = p->pad_top;
    turned.in_h = turned.out_h = turned.kernel_h = 1, turned.pad_top = 0;
  }
  const int is_in_fours = p->in_c == p->out_c && p->out_c >= 4;
  /* Of two rows of outputs both must exist. */
  const int is_strided = p->stride_h == 2 && p->stride_w == 2;
  const int is_3x3 = p->kernel_h == 3 && p->kernel_w == 3 && p->dilation_h == 1 && p->dilation_w == 1 &&
                     (is_strided || (p->stride_h == 1 && p->stride_w == 1 && p->out_h > 1));
  if (is_in_fours && is_3x3) dsp_lay_padding(p, (p->out_w - 1) * p->stride_w + 3, scratch);
  for (int32_t next = 0; is_in_fours && next < p->out_c; next += 4) {
    /* The last four may begin among the four before them. */
    int32_t channel = next + 4 > p->out_c ? p->out_c - 4 : next;
    int fast = 1;
    for (int32_t i = channel; i < channel + 4; i++)
      fast = fast && dsp_is_plain_scale(p->shift[i], p->folded[i], p->kernel_h * p->kernel_w);
    if (is_3x3 && fast)
      dsp_depthwise_3x3(p, channel, in, out, scratch);
    else
      dsp_depthwise_taps(p, channel, in, out, fast);
  }
  if (!is_in_fours) {
    int8_t *at = out;
    for (int32_t y = 0; y < p->out_h; y++)
      for (int32_t x = 0; x < p->out_w; x++)
        for (int32_t channel = 0; channel < p->out_c; channel++)
          *at++ = dsp_depthwise_one(p, channel, in, y * p->stride_h - p->pad_top, x * p->stride_w - p->pad_left);
  }
  dsp_clamp(out, p->out_h * p->out_w * p->out_c, p->act_min, p->act_max);
}

#endif
