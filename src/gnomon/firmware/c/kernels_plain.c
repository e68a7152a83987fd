/* The kernels in plain C: the definition, and what processors without DSP instructions run. Each symbol is weak,
 * so that an optimised file linked beside this one replaces the kernels that it has. */
#include "kernels.h"

#include "fixed_point.h"

#define WEAK __attribute__((weak))

/* The part of a window that lies inside the image: positions first <= k < last of `count`, of which the
 * first would lie at `start`. */
typedef struct {
  int first, last;
} range;

static range inside(int start, int count, int step, int size) {
  range r = {0, count};
  while (r.first < count && start + r.first * step < 0) r.first++;
  while (r.last > r.first && start + (r.last - 1) * step >= size) r.last--;
  return r;
}

static int8_t finish(int32_t sum, int32_t multiplier, int shift, int32_t offset, int32_t least, int32_t most) {
  return (int8_t)gnomon_clamp(gnomon_requantize(sum, multiplier, shift) + offset, least, most);
}

WEAK void gnomon_conv_s8(const gnomon_conv *p, const int8_t *in, int8_t *out, void *scratch) {
  (void)scratch;
  for (int y = 0; y < p->out_h; y++)
    for (int x = 0; x < p->out_w; x++) {
      int top = y * p->stride_h - p->pad_top, left = x * p->stride_w - p->pad_left;
      range rows = inside(top, p->kernel_h, p->dilation_h, p->in_h);
      range columns = inside(left, p->kernel_w, p->dilation_w, p->in_w);
      for (int o = 0; o < p->out_c; o++) {
        int32_t sum = p->bias[o];
        for (int i = rows.first; i < rows.last; i++)
          for (int j = columns.first; j < columns.last; j++) {
            const int8_t *pixel =
                in + ((top + i * p->dilation_h) * p->in_w + left + j * p->dilation_w) * p->in_c;
            const int8_t *weights = p->weights + ((o * p->kernel_h + i) * p->kernel_w + j) * p->in_c;
            for (int c = 0; c < p->in_c; c++) sum += (pixel[c] + p->in_offset) * weights[c];
          }
        *out++ = finish(sum, p->multiplier[o], p->shift[o], p->out_offset, p->act_min, p->act_max);
      }
    }
}

WEAK void gnomon_depthwise_s8(const gnomon_conv *p, const int8_t *in, int8_t *out, void *scratch) {
  (void)scratch;
  int multiplier = p->out_c / p->in_c;
  for (int y = 0; y < p->out_h; y++)
    for (int x = 0; x < p->out_w; x++) {
      int top = y * p->stride_h - p->pad_top, left = x * p->stride_w - p->pad_left;
      range rows = inside(top, p->kernel_h, p->dilation_h, p->in_h);
      range columns = inside(left, p->kernel_w, p->dilation_w, p->in_w);
      for (int o = 0; o < p->out_c; o++) {
        int32_t sum = p->bias[o];
        for (int i = rows.first; i < rows.last; i++)
          for (int j = columns.first; j < columns.last; j++) {
            int pixel = (top + i * p->dilation_h) * p->in_w + left + j * p->dilation_w;
            sum += (in[pixel * p->in_c + o / multiplier] + p->in_offset) *
                   p->weights[(i * p->kernel_w + j) * p->out_c + o];
          }
        *out++ = finish(sum, p->multiplier[o], p->shift[o], p->out_offset, p->act_min, p->act_max);
      }
    }
}

WEAK void gnomon_dense_s8(const gnomon_dense *p, const int8_t *in, int8_t *out, void *scratch) {
  (void)scratch;
  const int8_t *weights = p->weights;
  for (int o = 0; o < p->out; o++) {
    int32_t sum = p->bias[o];
    for (int i = 0; i < p->in; i++) sum += (in[i] + p->in_offset) * *weights++;
    out[o] = finish(sum, p->multiplier[o], p->shift[o], p->out_offset, p->act_min, p->act_max);
  }
}

/* Padding counts neither in a sum nor in what it is divided by; ties are rounded away from zero. */
WEAK void gnomon_avg_pool_s8(const gnomon_pool *p, const int8_t *in, int8_t *out) {
  for (int y = 0; y < p->out_h; y++)
    for (int x = 0; x < p->out_w; x++) {
      int top = y * p->stride_h - p->pad_top, left = x * p->stride_w - p->pad_left;
      range rows = inside(top, p->filter_h, 1, p->in_h), columns = inside(left, p->filter_w, 1, p->in_w);
      int count = (rows.last - rows.first) * (columns.last - columns.first);
      for (int c = 0; c < p->channels; c++) {
        int32_t sum = 0;
        for (int i = rows.first; i < rows.last; i++)
          for (int j = columns.first; j < columns.last; j++)
            sum += in[((top + i) * p->in_w + left + j) * p->channels + c];
        sum = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
        *out++ = (int8_t)gnomon_clamp(sum, p->act_min, p->act_max);
      }
    }
}

WEAK void gnomon_max_pool_s8(const gnomon_pool *p, const int8_t *in, int8_t *out) {
  for (int y = 0; y < p->out_h; y++)
    for (int x = 0; x < p->out_w; x++) {
      int top = y * p->stride_h - p->pad_top, left = x * p->stride_w - p->pad_left;
      range rows = inside(top, p->filter_h, 1, p->in_h), columns = inside(left, p->filter_w, 1, p->in_w);
      for (int c = 0; c < p->channels; c++) {
        int32_t most = INT8_MIN;
        for (int i = rows.first; i < rows.last; i++)
          for (int j = columns.first; j < columns.last; j++) {
            int8_t value = in[((top + i) * p->in_w + left + j) * p->channels + c];
            if (value > most) most = value;
          }
        *out++ = (int8_t)gnomon_clamp(most, p->act_min, p->act_max);
      }
    }
}

/* `out` may be `a` or `b`. */
WEAK void gnomon_add_s8(const gnomon_add *p, const int8_t *a, const int8_t *b, int8_t *out) {
  for (int32_t i = 0; i < p->size; i++) {
    int32_t one = (a[i] + p->offset1) * (1 << p->left_shift);
    int32_t other = (b[i] + p->offset2) * (1 << p->left_shift);
    int32_t sum = gnomon_requantize(one, p->multiplier1, p->shift1) +
                  gnomon_requantize(other, p->multiplier2, p->shift2);
    out[i] = finish(sum, p->out_multiplier, p->out_shift, p->out_offset, p->act_min, p->act_max);
  }
}
