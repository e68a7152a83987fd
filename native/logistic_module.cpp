// The Python face of the logistic regression. Shapes and ranges are checked in src/gnomon/fleet/logistic.py.
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "isa.hpp"
#include "logistic.hpp"
#include "parallel.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace gnomon {

namespace portable {
void train_client(const LocalTraining&);
}
#if defined(__x86_64__)
namespace avx2 {
void train_client(const LocalTraining&);
}
namespace avx512 {
void train_client(const LocalTraining&);
}
#endif

namespace {

template <class T, int DIMENSIONS>
using Array = nb::ndarray<T, nb::ndim<DIMENSIONS>, nb::c_contig, nb::device::cpu>;

TrainClient compiled_for(const std::string& name) {
  for (const Isa isa : isas()) {
    if (name != isa_name(isa)) continue;
#if defined(__x86_64__)
    if (isa == Isa::avx512) return avx512::train_client;
    if (isa == Isa::avx2) return avx2::train_client;
#endif
    return portable::train_client;
  }
  throw std::invalid_argument("no kernels for " + name + " here");
}

// Without an instruction for a product and a sum with one rounding, NumPy is faster.
constexpr bool PORTABLE_IS_FAST =
#if defined(__FP_FAST_FMAF)
    true;
#else
    false;
#endif

struct Free {
  void operator()(float* memory) const { std::free(memory); }
};

void train(const std::string& isa, const Array<const float, 2>& features,
           const Array<const int64_t, 1>& labels, int64_t width, int64_t classes,
           const Array<const float, 1>& before, const Array<const int64_t, 3>& rows, float step,
           float keep, float pull, int threads, const Array<float, 2>& updates,
           const Array<float, 3>& chances) {
  LocalTraining job{};
  job.features = features.data();
  job.labels = labels.data();
  job.stride = static_cast<int64_t>(features.shape(1));
  job.width = width;
  job.classes = classes;
  job.iterations = static_cast<int64_t>(rows.shape(1));
  job.batch = static_cast<int64_t>(rows.shape(2));
  job.before = before.data();
  job.step = step;
  job.keep = keep;
  job.pull = pull;
  const TrainClient train_client = compiled_for(isa);
  const int64_t clients = static_cast<int64_t>(rows.shape(0));
  const int64_t floats = padded(scratch_size(job.classes, job.stride, job.batch));
  const int64_t workers = threads < clients ? threads : clients;
  const std::unique_ptr<float, Free> scratch(
      static_cast<float*>(std::aligned_alloc(64, workers * floats * sizeof(float))));
  if (!scratch) throw std::bad_alloc();
  nb::gil_scoped_release release;
  parallel(clients, threads, [&](int64_t client, int worker) {
    LocalTraining mine = job;
    mine.rows = rows.data() + client * job.iterations * job.batch;
    mine.scratch = scratch.get() + worker * floats;
    mine.update = updates.data() + client * static_cast<int64_t>(updates.shape(1));
    mine.chances = chances.data() + client * job.iterations * job.batch;
    train_client(mine);
  });
}

}  // namespace
}  // namespace gnomon

NB_MODULE(_native, module) {
  using namespace gnomon;

  module.def("isas", [] {
    std::vector<std::string> names;
    for (const Isa isa : isas()) names.emplace_back(isa_name(isa));
    return names;
  });
  module.def("fast", [] { return best_isa() != Isa::portable || PORTABLE_IS_FAST; });
  module.def("train", &train, "isa"_a, "features"_a, "labels"_a, "width"_a, "classes"_a, "before"_a,
             "rows"_a, "step"_a, "keep"_a, "pull"_a, "threads"_a, "updates"_a, "chances"_a);
}
