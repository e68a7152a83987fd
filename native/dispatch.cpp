// Which kernels run: the best that this processor has the instructions for.
#include <atomic>
#include <cstring>

#include "isa.hpp"
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

static const Kernels* compiled_for(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return &avx512::table;
  if (isa == Isa::avx2) return &avx2::table;
#endif
  (void)isa;
  return &portable::table;
}

static std::atomic<const Kernels*> in_use{nullptr};

const Kernels* kernels() {
  const Kernels* found = in_use.load(std::memory_order_acquire);
  if (!found) {
    found = compiled_for(best_isa());
    in_use.store(found, std::memory_order_release);
  }
  return found;
}

const Kernels* kernels_named(const char* name) {
  for (const Isa isa : isas()) {
    if (std::strcmp(name, isa_name(isa)) == 0) return compiled_for(isa);
  }
  return nullptr;
}

void use_kernels(const Kernels* chosen) { in_use.store(chosen, std::memory_order_release); }

}  // namespace gnomon
