// The Python face of the kernels. Shapes and types are checked in src/gnomon/embedding/functional.py.
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "drivers.hpp"
#include "memory.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace gnomon {
namespace {

using Floats = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using ReadFloats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using ReadOffsets = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Any = nb::ndarray<nb::ro, nb::device::cpu>;
using Writable = nb::ndarray<nb::device::cpu>;
using Place = std::optional<std::tuple<int64_t, int64_t, int64_t>>;

class PlanObject {
 public:
  PlanObject(ReadOffsets first_rows, int64_t dim, uint64_t size, int64_t block, int64_t unit,
             uint64_t slots, int hash, bool signs, bool span, const std::vector<uint64_t>& numbers,
             uint64_t seed)
      : first_rows_(first_rows.data(), first_rows.data() + first_rows.size()) {
    plan.tables = static_cast<int64_t>(first_rows_.size()) - 1;
    plan.first_rows = first_rows_.data();
    plan.dim = dim;
    plan.block = block;
    plan.unit = unit;
    plan.size = size;
    plan.slots = slots;
    plan.slots_inverse = ~uint64_t{0} / slots + 1;
    plan.hash = static_cast<Hash>(hash);
    plan.signs = signs;
    plan.span = span;
    plan.seed = seed;
    for (size_t i = 0; i < 7; ++i) plan.r[i] = numbers.at(i);
    plan.piece_size = block < dim ? block : dim;
    plan.pieces = span ? 2 : (dim + plan.piece_size - 1) / plan.piece_size;
  }
  PlanObject(const PlanObject&) = delete;
  PlanObject& operator=(const PlanObject&) = delete;

  Plan plan{};

 private:
  std::vector<int64_t> first_rows_;
};

Kind kind_of(const nb::dlpack::dtype& type) {
  return type.bits == 32 ? Kind::float32 : Kind::bfloat16;
}

Bags bags_of(const Any& indices, const std::optional<ReadOffsets>& offsets,
             const std::optional<ReadFloats>& weights, bool mean, int64_t batch) {
  Bags bags{};
  bags.indices = indices.data();
  bags.wide = indices.dtype().bits == 64;
  bags.batch = batch;
  bags.mean = mean;
  bags.weights = weights ? weights->data() : nullptr;
  if (offsets) {
    bags.offsets = offsets->data();
  } else {
    bags.by_sample = indices.stride(0);
    bags.by_table = indices.stride(1);
    bags.by_l = indices.stride(2);
    bags.size = static_cast<int64_t>(indices.shape(2));
  }
  return bags;
}

Place told(const Wrong& wrong) {
  if (wrong.table < 0) return std::nullopt;
  return std::make_tuple(wrong.table, wrong.sample, wrong.id);
}

nb::ndarray<nb::numpy, float> allocate(size_t count) {
  const size_t bytes = count * sizeof(float);
  void* memory = count > SIZE_MAX / sizeof(float) ? nullptr : take_memory(bytes);
  if (!memory) throw std::bad_alloc();
  struct Held {
    void* memory;
    size_t bytes;
  };
  auto held = std::make_unique<Held>(Held{memory, bytes});
  nb::capsule owner(held.get(), [](void* p) noexcept {
    std::unique_ptr<Held> gone(static_cast<Held*>(p));
    give_memory(gone->memory, gone->bytes);
  });
  held.release();
  return nb::ndarray<nb::numpy, float>(memory, {count}, owner);
}

}  // namespace
}  // namespace gnomon

NB_MODULE(_native, module) {
  using namespace gnomon;

  // Plans are cached for the life of the process: at its end they are no leak.
  nb::set_leak_warnings(false);

  nb::class_<PlanObject>(module, "Plan")
      .def(nb::init<ReadOffsets, int64_t, uint64_t, int64_t, int64_t, uint64_t, int, bool, bool,
                    const std::vector<uint64_t>&, uint64_t>());

  module.def("allocate", &allocate, "count"_a);
  module.def("isa", [] { return std::string(kernels()->name); });
  module.def(
      "use_isa",
      [](const std::string& name) {
        const Kernels* found = kernels_named(name.c_str());
        if (!found) return false;
        use_kernels(found);
        return true;
      },
      "name"_a);

  module.def(
      "lookup",
      [](const PlanObject& plan, const Any& array, const Any& indices,
         const std::optional<ReadOffsets>& offsets, const std::optional<ReadFloats>& weights,
         bool mean, int64_t batch, const Floats& out, int threads) {
        const Bags bags = bags_of(indices, offsets, weights, mean, batch);
        const Kind kind = kind_of(array.dtype());
        nb::gil_scoped_release release;
        return told(lookup(plan.plan, array.data(), kind, bags, out.data(), threads));
      },
      "plan"_a, "array"_a, "indices"_a, "offsets"_a.none(), "weights"_a.none(), "mean"_a, "batch"_a,
      "out"_a, "threads"_a);

  module.def(
      "backward",
      [](const PlanObject& plan, const Any& indices, const std::optional<ReadOffsets>& offsets,
         const std::optional<ReadFloats>& weights, bool mean, int64_t batch,
         const ReadFloats& gradient, const Floats& total, int threads) {
        const Bags bags = bags_of(indices, offsets, weights, mean, batch);
        nb::gil_scoped_release release;
        return told(backward(plan.plan, bags, gradient.data(), total.data(), threads));
      },
      "plan"_a, "indices"_a, "offsets"_a.none(), "weights"_a.none(), "mean"_a, "batch"_a,
      "gradient"_a, "total"_a, "threads"_a);

  module.def(
      "weight_gradient",
      [](const PlanObject& plan, const Any& array, const Any& indices,
         const std::optional<ReadOffsets>& offsets, const std::optional<ReadFloats>& weights,
         bool mean, int64_t batch, const ReadFloats& gradient, const Floats& found, int threads) {
        const Bags bags = bags_of(indices, offsets, weights, mean, batch);
        const Kind kind = kind_of(array.dtype());
        nb::gil_scoped_release release;
        return told(weight_gradient(plan.plan, array.data(), kind, bags, gradient.data(),
                                    found.data(), threads));
      },
      "plan"_a, "array"_a, "indices"_a, "offsets"_a.none(), "weights"_a.none(), "mean"_a, "batch"_a,
      "gradient"_a, "found"_a, "threads"_a);

  module.def(
      "sgd",
      [](const PlanObject& plan, const Writable& array, const Any& indices,
         const std::optional<ReadOffsets>& offsets, const std::optional<ReadFloats>& weights,
         bool mean, int64_t batch, const ReadFloats& gradient, float learning_rate, int threads) {
        const Bags bags = bags_of(indices, offsets, weights, mean, batch);
        const Kind kind = kind_of(array.dtype());
        nb::gil_scoped_release release;
        return told(update(plan.plan, array.data(), kind, bags, gradient.data(),
                           {learning_rate, nullptr, 1, 0.0f}, threads));
      },
      "plan"_a, "array"_a, "indices"_a, "offsets"_a.none(), "weights"_a.none(), "mean"_a, "batch"_a,
      "gradient"_a, "learning_rate"_a, "threads"_a);

  module.def(
      "adagrad",
      [](const PlanObject& plan, const Writable& array, const Any& indices,
         const std::optional<ReadOffsets>& offsets, const std::optional<ReadFloats>& weights,
         bool mean, int64_t batch, const ReadFloats& gradient, const Floats& state, int64_t cell,
         float learning_rate, float epsilon, int threads) {
        const Bags bags = bags_of(indices, offsets, weights, mean, batch);
        const Kind kind = kind_of(array.dtype());
        nb::gil_scoped_release release;
        return told(update(plan.plan, array.data(), kind, bags, gradient.data(),
                           {learning_rate, state.data(), cell, epsilon}, threads));
      },
      "plan"_a, "array"_a, "indices"_a, "offsets"_a.none(), "weights"_a.none(), "mean"_a, "batch"_a,
      "gradient"_a, "state"_a, "cell"_a, "learning_rate"_a, "epsilon"_a, "threads"_a);

  module.def(
      "dot_interaction",
      [](const ReadFloats& dense, const ReadFloats& embeddings, const Floats& out, int threads) {
        Interaction job{};
        job.dense = dense.data();
        job.embeddings = embeddings.data();
        job.batch = static_cast<int64_t>(embeddings.shape(0));
        job.tables = static_cast<int64_t>(embeddings.shape(1));
        job.dim = static_cast<int64_t>(embeddings.shape(2));
        job.out = out.data();
        job.row_stride = static_cast<int64_t>(out.shape(1));
        nb::gil_scoped_release release;
        dot_interaction(job, threads);
      },
      "dense"_a, "embeddings"_a, "out"_a, "threads"_a);
}
