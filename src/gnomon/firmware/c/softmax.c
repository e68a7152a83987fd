/* Softmax in fixed point, as TensorFlow Lite's reference kernel and gemmlowp define it. A number "Qn" has n
 * integer bits, a sign and 31 - n fractional bits. */
#include "fixed_point.h"
#include "kernels.h"

#define INTEGER_BITS 5      /* of scaled differences from the maximum */
#define SUM_INTEGER_BITS 12 /* of the sum of exponentials */
#define ONE_Q0 INT32_MAX

/* x * 2^bits, saturating. */
static int32_t shift_left(int32_t x, int bits) {
  int32_t most = INT32_MAX >> bits;
  return x > most ? INT32_MAX : x < -most - 1 ? INT32_MIN : (int32_t)((uint32_t)x << bits);
}

/* e^a in Q0, for a Q0 number -1/4 <= a < 0: the fourth-order Taylor polynomial around -1/8. */
static int32_t exp_of_quarter(int32_t a) {
  const int32_t exp_of_minus_eighth = 1895147668, third = 715827883;
  int32_t x = a + (1 << 28);
  int32_t x2 = gnomon_multiply_high(x, x), x3 = gnomon_multiply_high(x2, x), x4 = gnomon_multiply_high(x2, x2);
  int32_t sum = gnomon_multiply_high(gnomon_divide_by_power(x4, 2) + x3, third) + x2;
  return exp_of_minus_eighth + gnomon_multiply_high(exp_of_minus_eighth, x + gnomon_divide_by_power(sum, 1));
}

/* e^a in Q0, for a Q5 number a <= 0: a quarter by the polynomial, the rest bit by bit. */
static int32_t exp_of_negative(int32_t a) {
  static const int32_t factors[] = {/* e^-(2^k), k = -2 ... 4, in Q0 */
                                    1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
  const int fraction_bits = 31 - INTEGER_BITS;
  const int32_t quarter = 1 << (fraction_bits - 2);
  if (a == 0) return ONE_Q0;
  int32_t part = (a & (quarter - 1)) - quarter;
  int32_t result = exp_of_quarter(shift_left(part, INTEGER_BITS));
  int32_t rest = part - a;
  for (int k = 0; k < 7; k++)
    if (rest & (1 << (fraction_bits - 2 + k))) result = gnomon_multiply_high(result, factors[k]);
  return result;
}

/* 1 / (1 + a) in Q0, for a Q0 number 0 <= a < 1: Newton's division in Q2, three steps. */
static int32_t reciprocal_of_one_plus(int32_t a) {
  const int32_t intercept = 1515870810 /* 48/17 */, slope = -1010580540 /* -32/17 */, one_q2 = 1 << 29;
  int32_t half_denominator = (int32_t)(((int64_t)a + ONE_Q0 + 1) / 2);
  int32_t x = intercept + gnomon_multiply_high(half_denominator, slope);
  for (int step = 0; step < 3; step++) {
    int32_t error = one_q2 - gnomon_multiply_high(half_denominator, x);
    x += shift_left(gnomon_multiply_high(x, error), 2);
  }
  return shift_left(x, 1);
}

__attribute__((weak)) void gnomon_softmax_s8(const int8_t *in, int32_t rows, int32_t depth, int32_t beta_multiplier,
                                             int32_t beta_left_shift, int32_t diff_min, int8_t *out) {
  for (int32_t row = 0; row < rows; row++, in += depth, out += depth) {
    int32_t most = INT8_MIN, sum = 0;
    for (int32_t i = 0; i < depth; i++)
      if (in[i] > most) most = in[i];
    for (int32_t i = 0; i < depth; i++)
      if (in[i] - most >= diff_min) {
        int32_t scaled = gnomon_requantize(in[i] - most, beta_multiplier, beta_left_shift);
        sum += gnomon_divide_by_power(exp_of_negative(scaled), SUM_INTEGER_BITS);
      }
    int zeros = __builtin_clz((uint32_t)sum);
    int32_t reciprocal = reciprocal_of_one_plus((int32_t)(((uint32_t)sum << zeros) - ((uint32_t)1 << 31)));
    int exponent = SUM_INTEGER_BITS - zeros + 31 - 8;
    for (int32_t i = 0; i < depth; i++) {
      int32_t value = INT8_MIN;
      if (in[i] - most >= diff_min) {
        int32_t scaled = gnomon_requantize(in[i] - most, beta_multiplier, beta_left_shift);
        value += gnomon_divide_by_power(gnomon_multiply_high(reciprocal, exp_of_negative(scaled)), exponent);
      }
      out[i] = (int8_t)gnomon_clamp(value, INT8_MIN, INT8_MAX);
    }
  }
}
