/* Layers of random shape through the optimised kernels, each byte against the reference. Prints a line a layer that
 * is wrong, and how many there were of each kind. Inputs and weights end where memory ends. */
#include "kernels.h"

#include "board.h"
#include "dense_cases.h"
#include "kernels_dsp_sizes.h"
#include "reference.h"

#define CANARY 0x5a
#define MOST_CHANNELS 80

static int8_t out_room[40000], scratch_room[40000], *const out = out_room + 1000;
static int32_t bias[MOST_CHANNELS], folded[MOST_CHANNELS], multiplier[MOST_CHANNELS];
static int8_t shift[MOST_CHANNELS];
static int32_t wrong, total;

/* Any numbers, or extreme ones, or one extreme alone. */
static int8_t *filled(int8_t *edge, int32_t size) {
  int32_t kind = between(0, 15);
  for (int32_t i = 0; i < size; i++) {
    int32_t extreme = kind == 0 || (kind == 1 && one_in(2)) ? -128 : 127;
    edge[i - size] = (int8_t)(kind < 3 ? extreme : between(-128, 127));
  }
  return edge - size;
}

/* Multipliers and shifts from dead channels (2^-31) over usual ones to such as amplify. */
static void fill_channels(int32_t channels, int32_t products) {
  static const int8_t shifts[10][2] = {{-12, -4}, {-12, -4}, {-12, -4}, {-12, -4}, {-12, -4},
                                       {-12, -4}, {-31, -1}, {0, 0},    {-3, 3},   {-24, -20}};
  int kind = between(0, 9);
  for (int32_t o = 0; o < channels; o++) {
    multiplier[o] = one_in(50) ? 0 : between(1 << 30, INT32_MAX);
    shift[o] = (int8_t)between(shifts[kind][0], shifts[kind][1]);
    bias[o] = between(-4 * 128 * products, 4 * 128 * products);
    if (kind == 6 && one_in(3)) bias[o] = (int32_t)draw() / 8 * 7;
  }
}

static void range_of_activation(int32_t *low, int32_t *high) {
  *low = -128, *high = 127;
  if (one_in(3)) *low = between(-128, 127), *high = between(*low, 127);
}

static void prepare(int32_t out_size, int32_t scratch_size) {
  memset(out_room, CANARY, (size_t)out_size + 2000);
  memset(scratch_room, CANARY, (size_t)scratch_size + 16);
}

/* The kernel wrote neither before or behind its output nor behind its scratch memory. */
static int is_contained(int32_t out_size, int32_t scratch_size) {
  int fine = 1;
  for (int i = 0; i < 1000; i++) fine = fine && out_room[i] == CANARY && out[out_size + i] == CANARY;
  for (int i = 0; i < 16; i++) fine = fine && scratch_room[scratch_size + i] == CANARY;
  return fine;
}

static void count(const char *kind, int fine, int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int32_t f) {
  total++;
  if (fine) return;
  wrong++;
  say_line(kind, 7, total, a, b, c, d, e, f);
}

static void finish(const char *kind) {
  say_line(kind, 2, total, wrong);
  total = wrong = 0;
}

/* A dimension of a window: padded by less than its extent on either side. */
static void window(int16_t in, int16_t kernel, int16_t stride, int16_t dilation, int16_t *padding, int16_t *windows) {
  int32_t extent = (kernel - 1) * dilation + 1;
  int32_t before = between(0, extent - 1), after = between(0, extent - 1);
  if (in + before + after < extent) before = after = extent - 1;
  *padding = (int16_t)before;
  *windows = (int16_t)((in + before + after - extent) / stride + 1);
}

static void convolve(int depthwise) {
  gnomon_conv p = {0};
  int small = one_in(2);
  p.in_h = (int16_t)between(1, 9), p.in_w = (int16_t)between(1, small ? 5 : 11);
  p.in_c = (int16_t)(one_in(4) ? 4 * between(1, 16) : one_in(2) ? between(1, 9) : between(1, 67));
  p.out_c = (int16_t)(depthwise ? p.in_c * (one_in(5) && p.in_c < 20 ? between(2, 4) : 1)
                                : one_in(2) ? 2 * between(1, 8) : between(1, 17));
  int usual = one_in(2);
  p.kernel_h = (int16_t)(depthwise && usual ? 3 : between(1, 5));
  p.kernel_w = (int16_t)(depthwise && usual ? 3 : between(1, 4));
  if (!depthwise && one_in(3)) p.kernel_h = p.kernel_w = 1;
  p.stride_h = p.stride_w = (int16_t)between(1, 2);
  if (one_in(4)) p.stride_h = (int16_t)between(1, 3);
  p.dilation_h = (int16_t)(one_in(8) ? 2 : 1), p.dilation_w = (int16_t)(one_in(8) ? 2 : 1);
  window(p.in_h, p.kernel_h, p.stride_h, p.dilation_h, &p.pad_top, &p.out_h);
  window(p.in_w, p.kernel_w, p.stride_w, p.dilation_w, &p.pad_left, &p.out_w);
  p.in_offset = between(-127, 128), p.out_offset = between(-128, 127);
  range_of_activation(&p.act_min, &p.act_max);

  int32_t taps = p.kernel_h * p.kernel_w, products = depthwise ? taps : taps * p.in_c;
  int32_t in_size = p.in_h * p.in_w * p.in_c, out_size = p.out_h * p.out_w * p.out_c;
  int8_t *in = filled(FIRST_EDGE, in_size);
  int8_t *weights = filled(SECOND_EDGE, products * p.out_c);
  p.weights = weights;
  p.bias = bias, p.folded = folded, p.multiplier = multiplier, p.shift = shift;
  fill_channels(p.out_c, products);
  int32_t dead = one_in(3) ? between(1, 3) : 0; /* one in so many channels */
  for (int32_t o = 0; dead && o < p.out_c; o++)
    if (one_in(dead)) {
      for (int32_t i = 0; i < products; i++) weights[depthwise ? i * p.out_c + o : o * products + i] = 0;
      bias[o] = between(0, 1) ? 1 << 30 : -(1 << 30), shift[o] = (int8_t)between(-31, 0);
    }
  for (int32_t o = 0; o < p.out_c; o++) {
    int32_t sum = 0;
    for (int32_t i = 0; i < products; i++) sum += p.weights[depthwise ? i * p.out_c + o : o * products + i];
    folded[o] = bias[o] + p.in_offset * sum;
  }
  int32_t scratch_size = GNOMON_DSP_CONV_SCRATCH(products);
  if (depthwise) scratch_size = 0;
  if (depthwise && p.kernel_h == 3 && p.kernel_w == 3)
    scratch_size = GNOMON_DSP_DEPTHWISE_SCRATCH((p.out_w - 1) * p.stride_w + 3);
  prepare(out_size, scratch_size);
  if (depthwise)
    gnomon_depthwise_s8(&p, in, out, scratch_room);
  else
    gnomon_conv_s8(&p, in, out, scratch_room);
  int fine = is_contained(out_size, scratch_size);
  const int8_t *made = out;
  for (int y = 0; y < p.out_h; y++)
    for (int x = 0; x < p.out_w; x++)
      for (int o = 0; o < p.out_c; o++) fine = fine && *made++ == reference_pixel(&p, in, depthwise, y, x, o);
  count("wrong", fine, in_size, p.in_c, p.out_c, p.kernel_h * 10 + p.kernel_w, p.stride_h * 10 + p.stride_w, taps);
}

static void connect(const dense_case *layer) {
  int32_t rows = layer->out, inputs = layer->in;
  gnomon_dense p = {inputs, rows,        layer->in_offset, between(-128, 127), 0,    0,
                    0,      layer->bias, layer->folded,    multiplier,         shift};
  range_of_activation(&p.act_min, &p.act_max);
  fill_channels(rows, inputs);
  int8_t *in = filled(FIRST_EDGE, inputs);
  int8_t *arranged = SECOND_EDGE - layer->arranged_size;
  memcpy(arranged, layer->arranged, (size_t)layer->arranged_size);
  p.weights = arranged;
  int32_t scratch_size = GNOMON_DSP_DENSE_SCRATCH(inputs);
  prepare(rows, scratch_size);
  gnomon_dense_s8(&p, in, out, scratch_room);
  int fine = is_contained(rows, scratch_size);
  for (int32_t o = 0; o < rows; o++) fine = fine && out[o] == reference_row(&p, layer->weights, in, o);
  count("wrong", fine, inputs, rows, 0, 0, 0, 0);
}

static void average(void) {
  gnomon_pool p = {0};
  p.in_h = (int16_t)between(1, 26), p.in_w = (int16_t)between(1, 26), p.channels = (int16_t)between(1, 13);
  p.filter_h = (int16_t)(one_in(3) ? p.in_h : between(1, 5));
  p.filter_w = (int16_t)(one_in(3) ? p.in_w : between(1, 5));
  p.stride_h = (int16_t)between(1, 3), p.stride_w = (int16_t)between(1, 3);
  window(p.in_h, p.filter_h, p.stride_h, 1, &p.pad_top, &p.out_h);
  window(p.in_w, p.filter_w, p.stride_w, 1, &p.pad_left, &p.out_w);
  range_of_activation(&p.act_min, &p.act_max);
  if (p.out_h * p.out_w > 100) { /* too slow */
    p.in_h = p.filter_h, p.in_w = p.filter_w;
    p.pad_top = p.pad_left = 0, p.out_h = p.out_w = 1;
  }
  int8_t *in = filled(FIRST_EDGE, p.in_h * p.in_w * p.channels);
  int32_t out_size = p.out_h * p.out_w * p.channels;
  prepare(out_size, 0);
  gnomon_avg_pool_s8(&p, in, out);
  int fine = is_contained(out_size, 0);
  const int8_t *made = out;
  for (int y = 0; y < p.out_h; y++)
    for (int x = 0; x < p.out_w; x++)
      for (int c = 0; c < p.channels; c++) fine = fine && *made++ == reference_average(&p, in, y, x, c);
  count("wrong", fine, p.in_h, p.in_w, p.channels, p.filter_h, p.filter_w, p.stride_h);
}

static void add(void) {
  gnomon_add p = {.size = between(1, 700), .left_shift = 20, .out_offset = between(-128, 127)};
  p.offset1 = between(-127, 128), p.offset2 = between(-127, 128);
  /* The larger scale's multiplier is one half, in models. */
  p.multiplier1 = one_in(5) ? between(1 << 30, INT32_MAX) : 1 << 30, p.shift1 = 0;
  p.multiplier2 = between(1 << 30, INT32_MAX), p.shift2 = between(-6, -1);
  if (one_in(2)) {
    int32_t m = p.multiplier1, s = p.shift1;
    p.multiplier1 = p.multiplier2, p.shift1 = p.shift2, p.multiplier2 = m, p.shift2 = s;
  }
  p.out_multiplier = between(1 << 30, INT32_MAX), p.out_shift = one_in(5) ? between(-30, 1) : between(-20, -16);
  range_of_activation(&p.act_min, &p.act_max);
  int8_t *a = filled(FIRST_EDGE, p.size), *b = filled(SECOND_EDGE, p.size);
  prepare(p.size, 0);
  int in_place = one_in(3);
  int8_t *to = in_place ? out : 0;
  if (in_place) memcpy(out, a, (size_t)p.size);
  gnomon_add_s8(&p, to ? to : a, b, out);
  int fine = is_contained(p.size, 0);
  for (int32_t i = 0; i < p.size; i++) fine = fine && out[i] == reference_sum(&p, a[i], b[i]);
  count("wrong", fine, p.size, p.shift1, p.shift2, p.out_shift, in_place, 0);
}

int main(void) {
  for (int i = 0; i < CASES; i++) convolve(0);
  finish("conv");
  for (int i = 0; i < CASES; i++) convolve(1);
  finish("depthwise");
  for (uint32_t i = 0; i < sizeof dense_cases / sizeof *dense_cases; i++) connect(&dense_cases[i]);
  finish("dense");
  for (int i = 0; i < CASES; i++) average();
  finish("average");
  for (int i = 0; i < CASES; i++) add();
  finish("add");
  return 0;
}
