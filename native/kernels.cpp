// The kernels of one instruction set, as a table.
#include "local.hpp"

#define GNOMON_TEXT(name) #name
#define GNOMON_NAME(name) GNOMON_TEXT(name)

namespace gnomon {
namespace GNOMON_ISA {

extern const Kernels table;
const Kernels table = {GNOMON_NAME(GNOMON_ISA), pool, gather, dot, accumulate, apply, interact};

}  // namespace GNOMON_ISA
}  // namespace gnomon
