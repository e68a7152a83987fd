/* Instructions of a layer of each kind, plain and optimised, and the sizes of scratch memory as C has them. */
#include "kernels.h"

#include "board.h"
#include "kernels_dsp_sizes.h"

void plain_conv_s8(const gnomon_conv *p, const int8_t *in, int8_t *out, void *scratch);
void plain_depthwise_s8(const gnomon_conv *p, const int8_t *in, int8_t *out, void *scratch);
void plain_dense_s8(const gnomon_dense *p, const int8_t *in, int8_t *out, void *scratch);
void plain_avg_pool_s8(const gnomon_pool *p, const int8_t *in, int8_t *out);
void plain_add_s8(const gnomon_add *p, const int8_t *a, const int8_t *b, int8_t *out);

static int8_t in[30000], weights[82000], out[20000], shift[640];
static int32_t bias[640], multiplier[640];
static uint32_t room[4000];

#define COUNT(name, plain, optimised) \
  do { \
    uint32_t began = instructions(); \
    plain; \
    uint32_t between_both = instructions(); \
    optimised; \
    say_line(name, 2, between_both - began, instructions() - between_both); \
  } while (0)

static gnomon_conv layer(int16_t height, int16_t width, int16_t channels, int16_t kernel, int16_t out_channels) {
  int16_t padding = kernel / 2;
  return (gnomon_conv){height, width, channels, height, width, out_channels, kernel, kernel, 1, 1, 1, 1,
                       padding, padding, 128, -128, -128, 127, weights, bias, bias, multiplier, shift};
}

int main(void) {
  start_timer();
  for (uint32_t i = 0; i < sizeof in; i++) in[i] = (int8_t)draw();
  for (uint32_t i = 0; i < sizeof weights; i++) weights[i] = (int8_t)draw();
  for (uint32_t i = 0; i < sizeof shift; i++) {
    shift[i] = (int8_t)between(-10, -7);
    multiplier[i] = between(1 << 30, INT32_MAX);
  }

  gnomon_conv window = layer(16, 16, 32, 3, 32), point = layer(25, 5, 64, 1, 64), depthwise = layer(25, 5, 64, 3, 64);
  gnomon_conv colours = layer(48, 48, 3, 3, 8), strided = depthwise;
  strided.stride_h = strided.stride_w = 2, strided.out_h = 13, strided.out_w = 3;
  gnomon_dense dense = {640, 128, 128, -128, -128, 127, weights, bias, bias, multiplier, shift};
  gnomon_pool pool = {25, 5, 64, 1, 1, 25, 5, 1, 1, 0, 0, -128, 127};
  gnomon_add add = {8192, 20, 5, 7, -128, 1 << 30, 1800000000, 1500000000, 0, -1, -19, -128, 127};
  COUNT("window", plain_conv_s8(&window, in, out, room), gnomon_conv_s8(&window, in, out, room));
  COUNT("colours", plain_conv_s8(&colours, in, out, room), gnomon_conv_s8(&colours, in, out, room));
  COUNT("pointwise", plain_conv_s8(&point, in, out, room), gnomon_conv_s8(&point, in, out, room));
  COUNT("depthwise", plain_depthwise_s8(&depthwise, in, out, room), gnomon_depthwise_s8(&depthwise, in, out, room));
  COUNT("strided", plain_depthwise_s8(&strided, in, out, room), gnomon_depthwise_s8(&strided, in, out, room));
  COUNT("dense", plain_dense_s8(&dense, in, out, room), gnomon_dense_s8(&dense, in, out, room));
  COUNT("average", plain_avg_pool_s8(&pool, in, out), gnomon_avg_pool_s8(&pool, in, out));
  COUNT("add", plain_add_s8(&add, in, in + 9000, out), gnomon_add_s8(&add, in, in + 9000, out));
  for (int32_t size = 1; size < 2000; size = size * 5 / 4 + 1)
    say_line("scratch", 4, size, GNOMON_DSP_CONV_SCRATCH(size), GNOMON_DSP_DEPTHWISE_SCRATCH(size),
             GNOMON_DSP_DENSE_SCRATCH(size));
  return 0;
}
