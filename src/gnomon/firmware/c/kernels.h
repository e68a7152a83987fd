/* int8 kernels as TensorFlow Lite Micro's reference kernels define them, byte for byte. Tensors are NHWC with a
 * batch of one. Offsets are added to the stored values: in_offset is minus the input's zero point, out_offset
 * the output's zero point. Real value of an accumulator: multiplier / 2^31 * 2^shift, applied with TFLite's
 * double rounding (saturating rounding doubling high multiply, then rounding right shift). */
#ifndef GNOMON_KERNELS_H
#define GNOMON_KERNELS_H

#include <stdint.h>

typedef struct {
  int16_t in_h, in_w, in_c, out_h, out_w, out_c;
  int16_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int32_t in_offset, out_offset, act_min, act_max;
  const int8_t *weights;     /* conv: (out_c, kernel_h, kernel_w, in_c); depthwise: (kernel_h, kernel_w, out_c) */
  const int32_t *bias;       /* (out_c,), of the model; null where the optimised kernel only uses `folded` */
  const int32_t *folded;     /* (out_c,): bias + in_offset * (sum of the channel's weights): for kernels that pad
                                with the zero point and add no offset in the loop; null for plain kernels */
  const int32_t *multiplier; /* (out_c,) */
  const int8_t *shift;       /* (out_c,) */
} gnomon_conv;

typedef struct {
  int32_t in, out; /* (out, in) weights */
  int32_t in_offset, out_offset, act_min, act_max;
  const int8_t *weights;
  const int32_t *bias;
  const int32_t *folded;
  const int32_t *multiplier; /* (out,): per channel, or one value repeated */
  const int8_t *shift;
} gnomon_dense;

typedef struct {
  int16_t in_h, in_w, channels, out_h, out_w, filter_h, filter_w, stride_h, stride_w, pad_top, pad_left;
  int32_t act_min, act_max;
} gnomon_pool;

typedef struct {
  int32_t size;
  int32_t left_shift, offset1, offset2, out_offset, multiplier1, multiplier2, out_multiplier;
  int32_t shift1, shift2, out_shift, act_min, act_max;
} gnomon_add;

/* Bytes of scratch memory that a kernel needs; the planner asks the same of `scratch_size` in plan.py. */
void gnomon_conv_s8(const gnomon_conv *p, const int8_t *in, int8_t *out, void *scratch);
void gnomon_depthwise_s8(const gnomon_conv *p, const int8_t *in, int8_t *out, void *scratch);
void gnomon_dense_s8(const gnomon_dense *p, const int8_t *in, int8_t *out, void *scratch);
void gnomon_avg_pool_s8(const gnomon_pool *p, const int8_t *in, int8_t *out);
void gnomon_max_pool_s8(const gnomon_pool *p, const int8_t *in, int8_t *out);
void gnomon_add_s8(const gnomon_add *p, const int8_t *a, const int8_t *b, int8_t *out);
/* beta_multiplier, beta_left_shift, diff_min: as TFLite's PreprocessSoftmaxScaling gives them. */
void gnomon_softmax_s8(const int8_t *in, int32_t rows, int32_t depth, int32_t beta_multiplier,
                       int32_t beta_left_shift, int32_t diff_min, int8_t *out);

#endif
