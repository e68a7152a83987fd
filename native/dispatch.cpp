// Which kernels run: the best that this processor has the instructions for.
#include <atomic>
#include <cstring>

#include "kernels.hpp"

namespace gnomon {

namespace portable {
extern const Kernels table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels table;
}
namespace avx512 {
extern const Kernels table;
}
#endif

static const Kernels* best() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return &avx512::table;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2::table;
#endif
  return &portable::table;
}

static std::atomic<const Kernels*> in_use{nullptr};

const Kernels* kernels() {
  const Kernels* found = in_use.load(std::memory_order_acquire);
  if (!found) {
    found = best();
    in_use.store(found, std::memory_order_release);
  }
  return found;
}

const Kernels* kernels_named(const char* name) {
  const Kernels* most = best();
  if (std::strcmp(name, "portable") == 0) return &portable::table;
#if defined(__x86_64__)
  if (std::strcmp(name, "avx2") == 0 && most != &portable::table) return &avx2::table;
  if (std::strcmp(name, "avx512") == 0 && most == &avx512::table) return &avx512::table;
#endif
  (void)most;
  return nullptr;
}

void use_kernels(const Kernels* chosen) { in_use.store(chosen, std::memory_order_release); }

}  // namespace gnomon
