// Memory for arrays and outputs: on 64-byte boundaries, in huge pages where the system grants them.
#pragma once
#include <cstddef>

namespace gnomon {

// Uninitialised, to be given back with the same size. Null when there is none.
//
// A table that is read at random from 4 kB pages misses the TLB at nearly every row; and a fresh page costs
// more to be faulted in than a row to be written. So large buffers ask for huge pages, and those given back
// are kept for the next caller, up to a bound.
void* take_memory(size_t bytes);
void give_memory(void* memory, size_t bytes);

}  // namespace gnomon
