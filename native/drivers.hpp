// What the Python module calls: work is divided, checked, and handed to the kernels.
#pragma once
#include "kernels.hpp"

namespace gnomon {

// Each returns where the first id out of range was found; nothing is then written but `out` of lookup.
Wrong lookup(const Plan&, const void* array, Kind, const Bags&, float* out, int threads);
Wrong backward(const Plan&, const Bags&, const float* gradient, float* total, int threads);
Wrong weight_gradient(const Plan&, const void* array, Kind, const Bags&, const float* gradient,
                      float* found, int threads);

struct Step {
  float learning_rate;
  float* state;  // Adagrad: (ceil(size / cell),); null: plain gradient descent
  int64_t cell;
  float epsilon;
};
Wrong update(const Plan&, void* array, Kind, const Bags&, const float* gradient, const Step&,
             int threads);

void dot_interaction(const Interaction&, int threads);

}  // namespace gnomon
