// DLRM's dot interaction: every pair of the bottom MLP's output and the pooled embeddings.
//
// For each sample: out = [dense, z_10, z_20, z_21, z_30, ...], z_ij = <v_i, v_j> for i > j, v_0 = dense.
// Naumov et al., "Deep Learning Recommendation Model", 2019 (arXiv 1906.00091), section 2.1.
#include "local.hpp"

namespace gnomon {
namespace GNOMON_ISA {

namespace {

GNOMON_INLINE const float* vector_of(const Interaction& job, int64_t sample, int64_t i) {
  if (i == 0) return job.dense + sample * job.dim;
  return job.embeddings + (sample * job.tables + i - 1) * job.dim;
}

// N by M dot products at once: each line that is read serves N or M of them.
template <int N, int M>
GNOMON_INLINE void products(const float* const* rows, const float* const* columns, int64_t dim,
                            float (*out)[M]) {
  Line sums[N][M];
  for (int n = 0; n < N; ++n) {
    for (int m = 0; m < M; ++m) sums[n][m] = Line::zero();
  }
  int64_t k = 0;
  for (; k + LANES <= dim; k += LANES) {
    Line across[M];
    for (int m = 0; m < M; ++m) across[m] = Line::load(columns[m] + k);
    for (int n = 0; n < N; ++n) {
      const Line down = Line::load(rows[n] + k);
      for (int m = 0; m < M; ++m) sums[n][m] = sums[n][m] + down * across[m];
    }
  }
  for (int n = 0; n < N; ++n) {
    for (int m = 0; m < M; ++m) {
      float total = sums[n][m].sum();
      for (int64_t i = k; i < dim; ++i) total += rows[n][i] * columns[m][i];
      out[n][m] = total;
    }
  }
}

constexpr int SIDE = 4;

}  // namespace

void interact(const Interaction& job) {
  const int64_t vectors = job.tables + 1;
  for (int64_t sample = 0; sample < job.batch; ++sample) {
    float* out = job.out + sample * job.row_stride;
    const float* dense = vector_of(job, sample, 0);
    for (int64_t i = 0; i < job.dim; ++i) out[i] = dense[i];
    float* pairs = out + job.dim;
    for (int64_t i0 = 0; i0 < vectors; i0 += SIDE) {
      const float* rows[SIDE];
      for (int n = 0; n < SIDE; ++n) {
        rows[n] = vector_of(job, sample, i0 + n < vectors ? i0 + n : vectors - 1);
      }
      for (int64_t j0 = 0; j0 <= i0; j0 += SIDE) {
        const float* columns[SIDE];
        for (int m = 0; m < SIDE; ++m) {
          columns[m] = vector_of(job, sample, j0 + m < vectors ? j0 + m : vectors - 1);
        }
        float found[SIDE][SIDE];
        products<SIDE, SIDE>(rows, columns, job.dim, found);
        for (int n = 0; n < SIDE; ++n) {
          const int64_t i = i0 + n;
          if (i >= vectors) break;
          for (int m = 0; m < SIDE && j0 + m < i; ++m) pairs[i * (i - 1) / 2 + j0 + m] = found[n][m];
        }
      }
    }
  }
}

}  // namespace GNOMON_ISA
}  // namespace gnomon
