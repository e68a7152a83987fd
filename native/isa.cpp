#include "isa.hpp"

namespace gnomon {

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx512: return "avx512";
    case Isa::avx2: return "avx2";
    default: return "portable";
  }
}

Isa best_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return Isa::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
#endif
  return Isa::portable;
}

std::vector<Isa> isas() {
  std::vector<Isa> found{Isa::portable};
  for (const Isa better : {Isa::avx2, Isa::avx512}) {
    if (better <= best_isa()) found.push_back(better);
  }
  return found;
}

}  // namespace gnomon
