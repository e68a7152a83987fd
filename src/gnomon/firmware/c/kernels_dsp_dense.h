/* Fully connected layers, four rows of weights at a time. Part of kernels_dsp.c.
 *
 * Every weight is used once, so unpacking the weights would cost as much as multiplying them. Half of it is saved by
 * multiplying packed words as they are. Let a halfword of weights h hold the byte 127 - w0 below the signed byte w1,
 * and x0, x1 be their inputs. With n = -1 - x0 and y = 256 x0 + x1 + 128, both of which fit an int16,
 *
 *     h n + w1 y = w0 x0 + w1 x1 + w0 - 128 w1 + 127 n
 *
 * so only w1 has to be unpacked. What depends on the row alone, w0 - 128 w1, is taken from `folded` when the image is
 * made; 127 n is the same for all rows. Four rows by eight inputs are 32 bytes in one place, row by row, filled up with
 * zeros. firmware/arrange.py does both: dense_weights and dense_folded. */
#ifndef GNOMON_KERNELS_DSP_DENSE_H
#define GNOMON_KERNELS_DSP_DENSE_H

#include "kernels_dsp_common.h"

#define DSP_DENSE_STEPS 4
#define DSP_DENSE_STEP_BYTES 108

/* What four rows need, and their sums. */
typedef struct {
  const int32_t *folded;
  int32_t common; /* subtracted from each */
  int32_t entry;  /* byte offset into the unrolled loop */
  const uint32_t *inputs, *inputs_end;
  int32_t sums[4];
} dsp_rows;

_Static_assert(offsetof(dsp_rows, sums) == 20, "dsp_run_rows has this figure");

/* Eight inputs by four rows a step; returns where the next rows' weights are. r0 weights, r1 inputs; r2 r3 r12 lr
 * accumulators; r4-r7 weights, r8-r11 inputs. */
__attribute__((naked, noipa)) static const int8_t *dsp_run_rows(const int8_t *weights __attribute__((unused)),
                                                                dsp_rows *rows __attribute__((unused))) {
  __asm__ volatile(
      "push {r4-r11, lr}\n"
      "ldmia.w r1, {r4-r8}\n"
      "push {r1, r8}\n"
      "ldmia.w r4, {r2, r3, r12, lr}\n"
      "subs r2, r5\n"
      "subs r3, r5\n"
      "sub r12, r5\n"
      "sub lr, r5\n"
      "adr.w r4, 1f\n"
      "add r6, r4\n"
      "orr r6, #1\n"
      "mov r1, r7\n"
      "bx r6\n"
      ".balign 4\n"
      "1:\n"
      ".rept 4\n"
      "ldmia.w r1!, {r8-r11}\n"
      "ldmia.w r0!, {r4-r7}\n"
      "smlad r2, r4, r8, r2\n"
      "smlad r3, r6, r8, r3\n"
      "sxtb16.w r4, r4, ror #8\n"
      "sxtb16.w r6, r6, ror #8\n"
      "smlad r2, r5, r10, r2\n"
      "smlad r3, r7, r10, r3\n"
      "sxtb16.w r5, r5, ror #8\n"
      "sxtb16.w r7, r7, ror #8\n"
      "smlad r2, r4, r9, r2\n"
      "smlad r3, r6, r9, r3\n"
      "smlad r2, r5, r11, r2\n"
      "smlad r3, r7, r11, r3\n"
      "ldmia.w r0!, {r4-r7}\n"
      "smlad r12, r4, r8, r12\n"
      "smlad lr, r6, r8, lr\n"
      "sxtb16.w r4, r4, ror #8\n"
      "sxtb16.w r6, r6, ror #8\n"
      "smlad r12, r5, r10, r12\n"
      "smlad lr, r7, r10, lr\n"
      "sxtb16.w r5, r5, ror #8\n"
      "sxtb16.w r7, r7, ror #8\n"
      "smlad r12, r4, r9, r12\n"
      "smlad lr, r6, r9, lr\n"
      "smlad r12, r5, r11, r12\n"
      "smlad lr, r7, r11, lr\n"
      ".endr\n"
      "ldr r4, [sp, #4]\n"
      "cmp r1, r4\n"
      "bne 1b\n"
      "pop {r1, r8}\n"
      "adds r1, #20\n"
      "stmia.w r1, {r2, r3, r12, lr}\n"
      "pop {r4-r11, pc}\n");
}

/* n and y of every input, and the sum of n. */
static int32_t dsp_lay_inputs(const int8_t *in, int32_t count, uint32_t *inputs) {
  int32_t sum = 0;
  for (int32_t i = 0; i < ((count + 7) & ~7); i += 4, inputs += 2) {
    uint32_t word = 0;
    if (i + 4 <= count)
      word = dsp_word(in + i);
    else
      for (int32_t j = i; j < count; j++) word |= (uint32_t)(uint8_t)in[j] << 8 * (j - i);
    inputs[0] = ~dsp_even(word);
    __asm__("rev16 %0, %1" : "=r"(inputs[1]) : "r"(word));
    inputs[1] ^= 0x00800080;
    sum = __smlad(inputs[0], 0x00010001, sum);
  }
  return sum;
}

static inline int32_t dsp_dense_output(int32_t sum, int32_t multiplier, int32_t shift, int32_t out_offset) {
  if (!dsp_is_plain_scale(shift, sum, 0)) return dsp_finished(sum, multiplier, shift, out_offset);
  dsp_scale scale;
  dsp_set_scale(&scale, multiplier, shift, out_offset);
  return dsp_scaled(&scale, 2 * sum);
}

void gnomon_dense_s8(const gnomon_dense *p, const int8_t *in, int8_t *out, void *scratch) {
  const int8_t *weights = p->weights, *shifts = p->shift;
  const int32_t *multipliers = p->multiplier, out_offset = p->out_offset, steps = (p->in + 7) / 8;
  dsp_rows rows;
  rows.folded = p->folded;
  rows.common = 127 * dsp_lay_inputs(in, p->in, scratch);
  rows.entry = (-steps & (DSP_DENSE_STEPS - 1)) * DSP_DENSE_STEP_BYTES;
  rows.inputs = scratch;
  rows.inputs_end = rows.inputs + 4 * steps;
  for (int32_t left = p->out; left > 0; left -= 4, rows.folded += 4) {
    weights = dsp_run_rows(weights, &rows);
    for (int32_t i = 0; i < (left < 4 ? left : 4); i++)
      *out++ = (int8_t)dsp_dense_output(rows.sums[i], *multipliers++, *shifts++, out_offset);
  }
  dsp_clamp(out - p->out, p->out, p->act_min, p->act_max);
}

#endif
