#include "parallel.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <pthread.h>

namespace gnomon {

namespace {

constexpr int MOST_THREADS = 256;
// A sleeping thread takes some 50 us to wake, which is more than a small lookup takes: whoever has just
// worked, or waits for the last piece, looks around for about as long before it sleeps.
constexpr auto PATIENCE = std::chrono::microseconds(50);

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

template <class Condition>
bool soon(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + PATIENCE;
  do {
    for (int i = 0; i < 64; ++i) {
      if (condition()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

struct Pool {
  std::mutex in_use;  // held by the caller whose work is being done
  std::mutex mutex;
  std::condition_variable begin, end;
  std::atomic<uint64_t> generation{0};
  int started = 0;  // threads that exist beside the caller
  int wanted = 0;   // of them, those that take part
  std::atomic<int> running{0};
  std::atomic<int64_t> next{0};
  int64_t count = 0;
  Work work = nullptr;
  void* context = nullptr;

  void share(int worker) {
    for (int64_t piece; (piece = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
      work(context, piece, worker);
    }
  }

  void live(int number, uint64_t seen) {
    bool worked = false;
    for (;;) {
      const auto called = [&] { return generation.load(std::memory_order_acquire) != seen; };
      if (worked) soon(called);
      std::unique_lock<std::mutex> lock(mutex);
      begin.wait(lock, called);
      seen = generation.load(std::memory_order_relaxed);
      worked = number < wanted;
      if (!worked) continue;
      lock.unlock();
      share(number + 1);
      lock.lock();
      if (--running == 0) end.notify_one();
    }
  }
};

// Never destroyed: its threads outlive every destructor. A forked child has none of them and starts anew.
std::atomic<Pool*> pool{nullptr};

void forget() { pool.store(new Pool, std::memory_order_release); }

Pool& the_pool() {
  static const bool made = [] {
    forget();
    pthread_atfork(nullptr, nullptr, forget);
    return true;
  }();
  (void)made;
  return *pool.load(std::memory_order_acquire);
}

}  // namespace

void run_parallel(int64_t count, int threads, Work work, void* context) {
  if (threads > MOST_THREADS) threads = MOST_THREADS;
  if (threads > count) threads = static_cast<int>(count);
  Pool& crew = the_pool();
  std::unique_lock<std::mutex> mine(crew.in_use, std::defer_lock);
  if (threads <= 1 || !mine.try_lock()) {
    for (int64_t piece = 0; piece < count; ++piece) work(context, piece, 0);
    return;
  }
  {
    std::lock_guard<std::mutex> lock(crew.mutex);
    while (crew.started < threads - 1) {
      try {
        std::thread(&Pool::live, &crew, crew.started, crew.generation.load()).detach();
      } catch (const std::system_error&) {  // no more threads: those that are there do the work
        threads = crew.started + 1;
        break;
      }
      ++crew.started;
    }
    crew.next.store(0, std::memory_order_relaxed);
    crew.count = count;
    crew.work = work;
    crew.context = context;
    crew.wanted = threads - 1;
    crew.running = threads - 1;
    crew.generation.fetch_add(1, std::memory_order_release);
  }
  crew.begin.notify_all();
  crew.share(0);
  soon([&] { return crew.running.load(std::memory_order_acquire) == 0; });
  std::unique_lock<std::mutex> lock(crew.mutex);
  crew.end.wait(lock, [&] { return crew.running == 0; });
}

}  // namespace gnomon
