#include "memory.hpp"

#include <cstdlib>
#include <map>
#include <mutex>

#include <sys/mman.h>

namespace gnomon {

namespace {

constexpr size_t LINE = 64;
constexpr size_t HUGE_PAGE = size_t{2} << 20;
constexpr size_t LARGE = size_t{1} << 20;  // from here on huge pages are asked for
constexpr size_t KEPT = size_t{256} << 20;

struct Store {
  std::mutex mutex;
  std::multimap<size_t, void*> idle;
  size_t kept = 0;
};

// Never destroyed: arrays may be given back while the interpreter shuts down.
Store& store() {
  static Store* made = new Store;
  return *made;
}

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

size_t size_of_large(size_t bytes) { return rounded(bytes, HUGE_PAGE); }

}  // namespace

void* take_memory(size_t bytes) {
  if (bytes == 0) bytes = 1;
  if (bytes < LARGE) {
    void* memory = nullptr;
    return posix_memalign(&memory, LINE, rounded(bytes, LINE)) ? nullptr : memory;
  }
  const size_t size = size_of_large(bytes);
  if (size < bytes) return nullptr;
  {
    std::lock_guard<std::mutex> lock(store().mutex);
    const auto found = store().idle.find(size);
    if (found != store().idle.end()) {
      void* memory = found->second;
      store().idle.erase(found);
      store().kept -= size;
      return memory;
    }
  }
  void* memory = nullptr;
  if (posix_memalign(&memory, HUGE_PAGE, size)) return nullptr;
#if defined(MADV_HUGEPAGE)
  madvise(memory, size, MADV_HUGEPAGE);  // granted or not, the memory serves
#endif
  return memory;
}

void give_memory(void* memory, size_t bytes) {
  if (bytes < LARGE) return std::free(memory);
  const size_t size = size_of_large(bytes);
  {
    std::lock_guard<std::mutex> lock(store().mutex);
    if (store().kept + size <= KEPT) {
      store().idle.emplace(size, memory);
      store().kept += size;
      return;
    }
  }
  std::free(memory);
}

}  // namespace gnomon
