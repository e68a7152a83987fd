// Instruction sets that kernels are compiled for, and which of them this processor has.
#pragma once
#include <vector>

namespace gnomon {

enum class Isa { portable, avx2, avx512 };

const char* isa_name(Isa isa);

// Those that this processor can run, from the plainest to the best.
std::vector<Isa> isas();
Isa best_isa();

}  // namespace gnomon
