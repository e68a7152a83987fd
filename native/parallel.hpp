// Threads that share numbered pieces of work. Who does which piece is left to chance: callers must not let
// a result depend on it.
#pragma once
#include <cstdint>

namespace gnomon {

using Work = void (*)(void* context, int64_t piece, int worker);

// Calls work(context, piece, worker) for pieces 0 to count - 1 on up to `threads` threads, the caller one
// of them, and returns when all are done. `worker` is below `threads`. While the threads are busy for
// another caller, the caller does all of its own work itself.
void run_parallel(int64_t count, int threads, Work work, void* context);

template <class F>
void parallel(int64_t count, int threads, F f) {
  run_parallel(
      count, threads,
      [](void* context, int64_t piece, int worker) { (*static_cast<F*>(context))(piece, worker); },
      &f);
}

}  // namespace gnomon
