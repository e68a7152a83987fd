// Local training of a softmax regression, one client at a time. src/gnomon/fleet/logistic.py has the same in
// NumPy, and says what is computed.
#pragma once
#include <cstdint>

namespace gnomon {

// One round of one client. All sizes are checked by the caller.
struct LocalTraining {
  const float* features;  // (n, stride): rows of `width` features, then zeros
  const int64_t* labels;  // (n,)
  int64_t stride, width, classes;
  const int64_t* rows;  // (iterations, batch): which samples
  int64_t iterations, batch;
  const float* before;  // (classes * width + classes,): weights, class by class, then biases
  float step;           // learning rate over batch
  float keep;           // of the weights in each step: 1 - learning rate * (regularisation + proximal)
  float pull;           // learning rate * proximal
  float* scratch;       // scratch_size(...) floats, on a line of 64 bytes
  float* update;        // as `before`: after minus before
  float* chances;       // (iterations, batch): what the model gave the right class
};

static constexpr int64_t padded(int64_t count) { return (count + 15) / 16 * 16; }

// Weights, then what a batch gives each class, biases, the batch's largest scores.
static constexpr int64_t scratch_size(int64_t classes, int64_t stride, int64_t batch) {
  return classes * stride + (classes + 1) * padded(batch) + padded(classes);
}

using TrainClient = void (*)(const LocalTraining&);

}  // namespace gnomon
