// A client's iterations of stochastic gradient descent. Every sum has an order of its own that does not depend
// on the instruction set, and products are added with one rounding: all of them give the same bits.
#include "logistic.hpp"

#include "line.hpp"
#include "plan.hpp"

namespace gnomon {
namespace GNOMON_ISA {

namespace {

// Sums that are under way at a time, (classes, samples or lines of features): as many as there are registers.
#if defined(__AVX512F__)
constexpr int ACROSS = 5, ALONG = 4;
#else
constexpr int ACROSS = 3, ALONG = 2;
#endif

struct State {
  float* weights;  // (classes, stride)
  float* biases;   // (classes,)
  float* scores;   // (classes, samples): scores, then chances, then slopes of the loss
  float* most;     // (samples,)
  int64_t samples;  // the batch, padded
};

template <int C, int S>
GNOMON_INLINE void score_tile(const LocalTraining& job, const State& state, int64_t c0,
                              const int64_t* rows, int64_t b0) {
  const float* weights = state.weights + c0 * job.stride;
  const float* x[S];
  for (int s = 0; s < S; ++s) x[s] = job.features + rows[b0 + s] * job.stride;
  Line sum[C][S];
  for (int c = 0; c < C; ++c) {
    for (int s = 0; s < S; ++s) sum[c][s] = Line::zero();
  }
  for (int64_t i = 0; i < job.stride; i += LANES) {
    Line row[S];
    for (int s = 0; s < S; ++s) row[s] = Line::load(x[s] + i);
    for (int c = 0; c < C; ++c) {
      const Line weight = Line::load(weights + c * job.stride + i);
      for (int s = 0; s < S; ++s) sum[c][s] = fused(weight, row[s], sum[c][s]);
    }
  }
  for (int c = 0; c < C; ++c) {
    float* scores = state.scores + (c0 + c) * state.samples + b0;
    for (int s = 0; s < S; ++s) scores[s] = sum[c][s].sum() + state.biases[c0 + c];
  }
}

// `next`: the batch after this one, or null; each sample's features are fetched once.
template <int C, int L>
GNOMON_INLINE void step_tile(const LocalTraining& job, const State& state, int64_t c0,
                             const int64_t* rows, const int64_t* next, int64_t i0) {
  Line sum[C][L];
  for (int c = 0; c < C; ++c) {
    for (int l = 0; l < L; ++l) sum[c][l] = Line::zero();
  }
  for (int64_t b = 0; b < job.batch; ++b) {
    const float* x = job.features + rows[b] * job.stride + i0;
    if (next) {
      const float* y = job.features + next[b] * job.stride + i0;
      for (int l = 0; l < L; ++l) __builtin_prefetch(y + l * LANES, 0, 2);
    }
    Line row[L];
    for (int l = 0; l < L; ++l) row[l] = Line::load(x + l * LANES);
    for (int c = 0; c < C; ++c) {
      const Line slope = Line::all(state.scores[(c0 + c) * state.samples + b]);
      for (int l = 0; l < L; ++l) sum[c][l] = fused(slope, row[l], sum[c][l]);
    }
  }
  for (int c = 0; c < C; ++c) {
    float* weights = state.weights + (c0 + c) * job.stride + i0;
    for (int l = 0; l < L; ++l) (Line::load(weights + l * LANES) - sum[c][l]).store(weights + l * LANES);
  }
}

// The scores of C classes for the whole batch.
template <int C>
void score_classes(const LocalTraining& job, const State& state, int64_t c0, const int64_t* rows) {
  int64_t b = 0;
  for (; b + ALONG <= job.batch; b += ALONG) score_tile<C, ALONG>(job, state, c0, rows, b);
  for (; b < job.batch; ++b) score_tile<C, 1>(job, state, c0, rows, b);
}

// The gradient's step of C classes.
template <int C>
void step_classes(const LocalTraining& job, const State& state, int64_t c0, const int64_t* rows,
                  const int64_t* next) {
  int64_t i = 0;
  for (; i + ALONG * LANES <= job.stride; i += ALONG * LANES) {
    step_tile<C, ALONG>(job, state, c0, rows, next, i);
  }
  for (; i < job.stride; i += LANES) step_tile<C, 1>(job, state, c0, rows, next, i);
}

template <int C = ACROSS>
void score(const LocalTraining& job, const State& state, const int64_t* rows, int64_t c0 = 0) {
  for (; c0 + C <= job.classes; c0 += C) score_classes<C>(job, state, c0, rows);
  if constexpr (C > 1) {
    if (c0 < job.classes) score<C - 1>(job, state, rows, c0);
  }
}

template <int C = ACROSS>
void step(const LocalTraining& job, const State& state, const int64_t* rows, const int64_t* next,
          int64_t c0 = 0) {
  for (; c0 + C <= job.classes; c0 += C) {
    step_classes<C>(job, state, c0, rows, c0 == 0 ? next : nullptr);
  }
  if constexpr (C > 1) {
    if (c0 < job.classes) step<C - 1>(job, state, rows, c0 == 0 ? next : nullptr, c0);
  }
}

// exp(x) for x <= 0 to 1 ulp or so, as Cephes has it: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2].
GNOMON_INLINE float exponential(float x) {
  constexpr float ROUND = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the lowest bits
  x = x < -87.0f ? -87.0f : x;
  const float shifted = __builtin_fmaf(x, 1.44269504f, ROUND);
  const float n = shifted - ROUND;
  float r = __builtin_fmaf(n, -0.693359375f, x);
  r = __builtin_fmaf(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = __builtin_fmaf(p, r, 1.3981999507e-3f);
  p = __builtin_fmaf(p, r, 8.3334519073e-3f);
  p = __builtin_fmaf(p, r, 4.1665795894e-2f);
  p = __builtin_fmaf(p, r, 1.6666665459e-1f);
  p = __builtin_fmaf(p, r, 5.0000001201e-1f);
  p = __builtin_fmaf(p, r * r, r) + 1.0f;
  uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

// Scores become chances, then slopes; `chances` gets those of the right classes.
void soften(const LocalTraining& job, const State& state, const int64_t* rows, float* chances) {
  const int64_t n = state.samples;
  float* most = state.most;
  for (int64_t b = 0; b < n; ++b) most[b] = state.scores[b];
  for (int64_t c = 1; c < job.classes; ++c) {
    const float* scores = state.scores + c * n;
    for (int64_t b = 0; b < n; ++b) most[b] = most[b] < scores[b] ? scores[b] : most[b];
  }
  for (int64_t c = 0; c < job.classes; ++c) {
    float* scores = state.scores + c * n;
    for (int64_t b = 0; b < n; ++b) scores[b] = exponential(scores[b] - most[b]);
  }
  float* total = most;
  for (int64_t b = 0; b < n; ++b) total[b] = state.scores[b];
  for (int64_t c = 1; c < job.classes; ++c) {
    for (int64_t b = 0; b < n; ++b) total[b] += state.scores[c * n + b];
  }
  for (int64_t c = 0; c < job.classes; ++c) {
    for (int64_t b = 0; b < n; ++b) state.scores[c * n + b] /= total[b];
  }
  for (int64_t b = 0; b < job.batch; ++b) {
    float& right = state.scores[job.labels[rows[b]] * n + b];
    chances[b] = right;
    right -= 1.0f;
  }
  for (int64_t k = 0; k < job.classes * n; ++k) state.scores[k] *= job.step;
}

void decay(const LocalTraining& job, const State& state) {
  const float* before_biases = job.before + job.classes * job.width;
  for (int64_t c = 0; c < job.classes; ++c) {
    float* weights = state.weights + c * job.stride;
    const float* before = job.before + c * job.width;
    for (int64_t i = 0; i < job.width; ++i) {
      weights[i] = weights[i] * job.keep + job.pull * before[i];
    }
    state.biases[c] = state.biases[c] * job.keep + job.pull * before_biases[c];
  }
}

}  // namespace

void train_client(const LocalTraining& job) {
  State state{};
  state.samples = padded(job.batch);
  state.weights = job.scratch;
  state.scores = state.weights + job.classes * job.stride;
  state.most = state.scores + job.classes * state.samples;
  state.biases = state.most + state.samples;
  const float* before_biases = job.before + job.classes * job.width;
  std::memset(job.scratch, 0, scratch_size(job.classes, job.stride, job.batch) * sizeof(float));
  for (int64_t c = 0; c < job.classes; ++c) {
    std::memcpy(state.weights + c * job.stride, job.before + c * job.width, job.width * sizeof(float));
    state.biases[c] = before_biases[c];
  }
  for (int64_t e = 0; e < job.iterations; ++e) {
    const int64_t* rows = job.rows + e * job.batch;
    score(job, state, rows);
    soften(job, state, rows, job.chances + e * job.batch);
    if (job.keep != 1.0f) decay(job, state);
    step(job, state, rows, e + 1 < job.iterations ? rows + job.batch : nullptr);
    for (int64_t c = 0; c < job.classes; ++c) {
      float slope = 0.0f;
      for (int64_t b = 0; b < job.batch; ++b) slope += state.scores[c * state.samples + b];
      state.biases[c] -= slope;
    }
  }
  for (int64_t c = 0; c < job.classes; ++c) {
    float* update = job.update + c * job.width;
    const float* before = job.before + c * job.width;
    const float* weights = state.weights + c * job.stride;
    for (int64_t i = 0; i < job.width; ++i) update[i] = weights[i] - before[i];
    job.update[job.classes * job.width + c] = state.biases[c] - before_biases[c];
  }
}

}  // namespace GNOMON_ISA
}  // namespace gnomon
