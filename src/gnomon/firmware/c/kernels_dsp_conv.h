/* Convolution in tiles of two channels by two pixels. Part of kernels_dsp.c.
 *
 * A block of pixels is gathered and sign extended into scratch memory once, then all channels pass over it, two at a
 * time, their weights sign extended as well. Both lie as SXTB16 leaves them (elements 0, 2 then 1, 3), the two of a
 * pair interleaved by four elements, so that LDM of four registers brings what eight SMLAD need:
 *
 *     (a0 a2) (a1 a3) (b0 b2) (b1 b3)   (a4 a6) (a5 a7) (b4 b6) (b5 b7) ...
 *
 * Padding is the input's zero point, whose products `folded` takes back. */
#ifndef GNOMON_KERNELS_DSP_CONV_H
#define GNOMON_KERNELS_DSP_CONV_H

#include "kernels_dsp_common.h"

#define DSP_STEPS 8       /* of four elements, unrolled */
#define DSP_STEP_BYTES 40 /* of code */

/* Two channels over the pixels of a block. The first eight words are loaded by one LDM. */
typedef struct {
  dsp_scale scale[2];
  int8_t *out;
  int32_t out_step;        /* bytes between pixels */
  int32_t start[2];        /* of the accumulators */
  const uint32_t *weights; /* of both channels */
  uint32_t entry;          /* byte offset into the unrolled loop; the kernel makes an address of it */
  const uint32_t *columns, *columns_end;
  int32_t column_bytes; /* of two pixels */
} dsp_tiles;

_Static_assert(offsetof(dsp_tiles, out) == 24 && offsetof(dsp_tiles, start) == 32, "dsp_run_tiles has these figures");
_Static_assert(offsetof(dsp_tiles, entry) == 44 && offsetof(dsp_tiles, column_bytes) == 56, "and these");

/* r0 weights, r1 columns; r2 r3 first channel's accumulators, r12 lr second's; r4-r7 weights, r8-r11 columns. All are
 * in use, so the tiles' address and the end of this pair's columns wait on the stack. A column whose length is not a
 * multiple of eight steps enters the loop in its midst. */
__attribute__((naked, noipa)) static void dsp_run_tiles(dsp_tiles *tiles __attribute__((unused))) {
  __asm__ volatile(
      "push {r0, r1, r4-r11, lr}\n"
      "ldr r2, [r0, #44]\n"
      "adr.w r3, 2f\n"
      "add r2, r3\n"
      "orr r2, #1\n"
      "str r2, [r0, #44]\n"
      "ldr r1, [r0, #48]\n"
      "1: ldr r2, [r0, #56]\n"
      "add r2, r1\n"
      "str r2, [sp, #4]\n"
      "ldrd r2, r12, [r0, #32]\n"
      "ldrd r0, r4, [r0, #40]\n"
      "mov r3, r2\n"
      "mov lr, r12\n"
      "bx r4\n"
      ".balign 4\n"
      "2:\n"
      ".rept 8\n"
      "ldmia.w r0!, {r4-r7}\n"
      "ldmia.w r1!, {r8-r11}\n"
      "smlad r2, r4, r8, r2\n"
      "smlad r3, r4, r10, r3\n"
      "smlad r12, r6, r8, r12\n"
      "smlad lr, r6, r10, lr\n"
      "smlad r2, r5, r9, r2\n"
      "smlad r3, r5, r11, r3\n"
      "smlad r12, r7, r9, r12\n"
      "smlad lr, r7, r11, lr\n"
      ".endr\n"
      "ldr r4, [sp, #4]\n"
      "cmp r1, r4\n"
      "bne 2b\n"
      "ldr r0, [sp]\n"
      "ldmia.w r0, {r4-r11}\n"
      "add r0, r6, r2, asr #31\n"
      "lsls r2, r2, #1\n"
      "smmlar r2, r2, r4, r0\n"
      "asrs r2, r5\n"
      "ssat r2, #8, r2\n"
      "strb r2, [r10]\n"
      "add r0, r9, r12, asr #31\n"
      "lsl r12, r12, #1\n"
      "smmlar r2, r12, r7, r0\n"
      "asr r2, r2, r8\n"
      "ssat r2, #8, r2\n"
      "strb r2, [r10, #1]\n"
      "add r10, r11\n"
      "add r0, r6, r3, asr #31\n"
      "lsls r3, r3, #1\n"
      "smmlar r3, r3, r4, r0\n"
      "asrs r3, r5\n"
      "ssat r3, #8, r3\n"
      "strb r3, [r10]\n"
      "add r0, r9, lr, asr #31\n"
      "lsl lr, lr, #1\n"
      "smmlar r3, lr, r7, r0\n"
      "asr r3, r3, r8\n"
      "ssat r3, #8, r3\n"
      "strb r3, [r10, #1]\n"
      "add r10, r11\n"
      "ldr r0, [sp]\n"
      "str r10, [r0, #24]\n"
      "ldr r4, [r0, #52]\n"
      "cmp r1, r4\n"
      "bne 1b\n"
      "pop {r0, r1, r4-r11, pc}\n");
}

/* One channel and pixel of a tile, for scales that take more than four instructions, and for an odd channel. */
static int32_t dsp_dot(const uint32_t *weights, const uint32_t *column, int32_t size, int32_t start) {
  for (; size > 0; size -= 4, weights += 4, column += 4) {
    start = __smlad(weights[0], column[0], start);
    start = __smlad(weights[1], column[1], start);
  }
  return start;
}

static inline uint32_t *dsp_expand_words(uint32_t *column, const int8_t *from, int32_t count) {
  for (; count > 0; count -= 4, from += 4, column += 4) {
    uint32_t word = dsp_word(from);
    column[0] = dsp_even(word), column[1] = dsp_odd(word);
  }
  return column;
}

/* Sign extend bytes into every other pair of words, rounding `count` up to four: up to three bytes more are read. */
__attribute__((noinline)) static uint32_t *dsp_expand(uint32_t *column, const int8_t *from, int32_t count) {
  if (count >= 16 && ((uintptr_t)from & 3) == 0) {
    count -= 16;
    __asm__ volatile(
        "1: ldmia.w %[from]!, {r4-r7}\n"
        "subs %[count], #16\n"
        "sxtb16.w r8, r4\n"
        "sxtb16.w r9, r4, ror #8\n"
        "strd r8, r9, [%[column]], #16\n"
        "sxtb16.w r8, r5\n"
        "sxtb16.w r9, r5, ror #8\n"
        "strd r8, r9, [%[column]], #16\n"
        "sxtb16.w r8, r6\n"
        "sxtb16.w r9, r6, ror #8\n"
        "strd r8, r9, [%[column]], #16\n"
        "sxtb16.w r8, r7\n"
        "sxtb16.w r9, r7, ror #8\n"
        "strd r8, r9, [%[column]], #16\n"
        "bge 1b\n"
        : [from] "+r"(from), [column] "+r"(column), [count] "+r"(count)
        :
        : "r4", "r5", "r6", "r7", "r8", "r9", "cc", "memory");
    count += 16;
  }
  return dsp_expand_words(column, from, count);
}

/* The same for weights, whose bytes beyond `count` count as zero. */
static uint32_t *dsp_expand_weights(uint32_t *column, const int8_t *from, int32_t count) {
  column = dsp_expand(column, from, count & ~3);
  if (count & 3) {
    uint32_t word = 0;
    for (int32_t i = 0; i < (count & 3); i++) word |= (uint32_t)(uint8_t)from[(count & ~3) + i] << 8 * i;
    column[0] = dsp_even(word), column[1] = dsp_odd(word);
    column += 4;
  }
  return column;
}

/* What a convolution needs at every step. A run is what lies together in memory, a row of the window; or else all of
 * the window, once its taps have been gathered one by one. */
typedef struct {
  const gnomon_conv *p;
  const int8_t *in;
  int is_gathered;
  int32_t runs, run;      /* how many, and elements of each */
  int32_t size;           /* elements of a column: runs, each rounded up to four */
  int32_t row;            /* bytes of input between runs */
  int32_t left_end;       /* windows that begin at 0 or later, and before this, have no padding left or right */
  const int8_t *from_end; /* those whose first byte is before this have none below, and can be read by words */
  int8_t *bytes;          /* room for a run */
} dsp_conv;

/* A run that is partly outside of the image, or so near the tensor's end that whole words cannot be read. */
__attribute__((noinline)) static uint32_t *dsp_expand_edge(const dsp_conv *c, uint32_t *column, int32_t y,
                                                           int32_t x) {
  const gnomon_conv *p = c->p;
  const uint32_t padding = 0x01010101u * (uint8_t)-p->in_offset;
  int32_t first = x < 0 ? -x : 0, last = p->in_w - x < p->kernel_w ? p->in_w - x : p->kernel_w;
  for (int32_t i = 0; i < c->run; i += 4) memcpy(c->bytes + i, &padding, 4);
  if (y >= 0 && y < p->in_h) {
    int8_t *to = c->bytes + first * p->in_c;
    const int8_t *from = c->in + (y * p->in_w + x + first) * p->in_c;
    int32_t count = (last - first) * p->in_c;
    for (; count >= 4; count -= 4, from += 4, to += 4) memcpy(to, from, 4);
    for (; count > 0; count--) *to++ = *from++;
  }
  return dsp_expand(column, c->bytes, c->run);
}

/* A window with gaps, or one that is one element wide. */
__attribute__((noinline)) static void dsp_expand_taps(const dsp_conv *c, uint32_t *column, int32_t top,
                                                      int32_t left) {
  const gnomon_conv *p = c->p;
  int8_t *to = c->bytes;
  for (int32_t i = 0, y = top; i < p->kernel_h; i++, y += p->dilation_h)
    for (int32_t j = 0, x = left; j < p->kernel_w; j++, x += p->dilation_w) {
      int is_inside = y >= 0 && y < p->in_h && x >= 0 && x < p->in_w;
      const int8_t *from = c->in + (y * p->in_w + x) * p->in_c;
      for (int32_t k = 0; k < p->in_c; k++) *to++ = is_inside ? from[k] : (int8_t)-p->in_offset;
    }
  dsp_expand(column, c->bytes, c->run);
}

/* `count` columns of pixels that follow each other, the first of which is pixel `x` of row `y`. */
static void dsp_lay_columns(const dsp_conv *c, uint32_t *columns, int32_t y, int32_t x, int32_t count) {
  const gnomon_conv *p = c->p;
  const int32_t size = c->size, run = c->run, row = c->row, kernel_h = p->kernel_h, out_w = p->out_w;
  const int32_t step = p->stride_w * p->in_c;
  for (int32_t i = 0; i < count;) {
    const int32_t top = y * p->stride_h - p->pad_top, i_end = count - i < out_w - x ? count : i + out_w - x;
    int32_t left = x * p->stride_w - p->pad_left;
    const int8_t *from = c->in + (top * p->in_w + left) * p->in_c;
    const int32_t left_end = top >= 0 ? c->left_end : 0;
    for (; i < i_end; i++, left += p->stride_w, from += step) {
      uint32_t *column = columns + (i >> 1) * size + (i & 1) * 2;
      if (left >= 0 && left < left_end && from < c->from_end) {
        const int8_t *at = from;
        for (int32_t j = kernel_h; j > 0; j--, at += row)
          column = run > 12 ? dsp_expand(column, at, run) : dsp_expand_words(column, at, run);
      } else if (c->is_gathered) {
        dsp_expand_taps(c, column, top, left);
      } else {
        for (int32_t j = 0; j < kernel_h; j++) column = dsp_expand_edge(c, column, top + j * p->dilation_h, left);
      }
    }
    x = 0, y++;
  }
}

static int dsp_is_zero(const int8_t *bytes, int32_t count) {
  uint32_t any = 0;
  for (; count >= 4; count -= 4, bytes += 4) any |= dsp_word(bytes);
  for (; count > 0; count--) any |= (uint8_t)*bytes++;
  return any == 0;
}

/* Both channels' weights, scales and starts; whether dsp_run_tiles can have them. Trained networks have dead channels,
 * many in some: their weights are zero, their biases near 2^30 and their multipliers next to nothing. What they yield,
 * always the same, is put into a scale that dsp_run_tiles can have. */
static int dsp_lay_channels(const dsp_conv *c, dsp_tiles *tiles, int32_t channel, int32_t width) {
  const gnomon_conv *p = c->p;
  int32_t products = c->runs * c->run;
  int fast = width == 2;
  for (int32_t i = 0; i < width; i++) {
    int32_t o = channel + i;
    const int8_t *from = p->weights + o * products;
    uint32_t *to = (uint32_t *)tiles->weights + 2 * i;
    if ((c->run & 3) == 0)
      dsp_expand(to, from, products);
    else
      for (int32_t j = 0; j < c->runs; j++, from += c->run) to = dsp_expand_weights(to, from, c->run);
    tiles->start[i] = p->folded[o];
    if (dsp_is_plain_scale(p->shift[o], p->folded[o], products)) {
      dsp_set_scale(&tiles->scale[i], p->multiplier[o], p->shift[o], p->out_offset);
    } else if (dsp_is_zero(p->weights + o * products, products)) {
      int32_t value = dsp_finished(p->folded[o], p->multiplier[o], p->shift[o], p->out_offset);
      tiles->start[i] = 0;
      tiles->scale[i] = (dsp_scale){.multiplier = 0, .right = 1, .addend = 2 * value};
    } else {
      fast = 0;
    }
  }
  return fast;
}

/* One or two channels over `count` pixels without dsp_run_tiles. */
__attribute__((noinline)) static void dsp_run_slowly(const dsp_conv *c, const uint32_t *weights, int32_t channel,
                                                     int32_t width, const uint32_t *columns, int32_t count,
                                                     int8_t *out) {
  const gnomon_conv *p = c->p;
  for (int32_t i = 0; i < count; i++, out += p->out_c)
    for (int32_t j = 0; j < width; j++) {
      const uint32_t *column = columns + (i >> 1) * c->size + (i & 1) * 2;
      int32_t o = channel + j, sum = dsp_dot(weights + 2 * j, column, c->size, p->folded[o]);
      out[j] = (int8_t)dsp_finished(sum, p->multiplier[o], p->shift[o], p->out_offset);
    }
}

/* All channels over the `count` pixels of a block. */
static void dsp_conv_block(const dsp_conv *c, const uint32_t *columns, uint32_t *weights, int32_t count,
                           int8_t *out) {
  const int32_t channels = c->p->out_c;
  const uint32_t entry = (uint32_t)(-(c->size >> 2) & (DSP_STEPS - 1)) * DSP_STEP_BYTES;
  dsp_tiles tiles;
  tiles.weights = weights;
  tiles.column_bytes = 4 * c->size;
  for (int32_t channel = 0; channel < channels; channel += 2, out += 2) {
    int32_t width = channels - channel < 2 ? 1 : 2;
    if (!dsp_lay_channels(c, &tiles, channel, width)) {
      dsp_run_slowly(c, weights, channel, width, columns, count, out);
      continue;
    }
    tiles.columns = columns;
    tiles.columns_end = columns + (count >> 1) * c->size;
    tiles.out = out;
    tiles.out_step = channels;
    tiles.entry = entry;
    if (count > 1) dsp_run_tiles(&tiles);
    if (count & 1) { /* the last pixel beside one that is not there */
      int8_t both[4];
      tiles.columns = tiles.columns_end;
      tiles.columns_end += c->size;
      tiles.out = both;
      tiles.out_step = 2;
      tiles.entry = entry;
      dsp_run_tiles(&tiles);
      memcpy(out + (count - 1) * channels, both, 2);
    }
  }
}

void gnomon_conv_s8(const gnomon_conv *p, const int8_t *in, int8_t *out, void *scratch) {
  const int32_t products = p->kernel_h * p->kernel_w * p->in_c, pixels = p->out_h * p->out_w;
  dsp_conv c = {.p = p, .in = in, .row = p->dilation_h * p->in_w * p->in_c};
  c.is_gathered = p->dilation_w > 1 || p->kernel_w * p->in_c == 1;
  c.runs = c.is_gathered ? 1 : p->kernel_h;
  c.run = products / c.runs;
  c.size = c.runs * ((c.run + 3) & ~3);
  c.left_end = c.is_gathered ? 0 : p->in_w - p->kernel_w + 1;
  c.from_end = in + p->in_h * p->in_w * p->in_c - (p->kernel_h - 1) * c.row - ((c.run + 3) & ~3) + 1;
  /* Rounding each run may take more than the products alone, at most twice as much: then fewer pixels fit. */
  const int32_t block = (GNOMON_DSP_CONV_SCRATCH(products) / (2 * c.size) - 2) & ~1;
  uint32_t *columns = scratch, *weights = columns + block * c.size / 2;
  c.bytes = (int8_t *)weights; /* not needed at the same time */
  for (int32_t first = 0; first < pixels; first += block) {
    int32_t count = pixels - first < block ? pixels - first : block;
    dsp_lay_columns(&c, columns, first / p->out_w, first % p->out_w, count);
    dsp_conv_block(&c, columns, weights, count, out + first * p->out_c);
  }
  dsp_clamp(out, pixels * p->out_c, p->act_min, p->act_max);
}

#endif
