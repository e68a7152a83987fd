// What this machine's memory gives at most: reads at random places, and writes past the caches. Built and
// called by limits.py; nothing here belongs to the product.
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>
#include <xmmintrin.h>

// Sum of the first float of every line of `count` blocks of `bytes` at the given offsets (in floats).
static float read_some(const float* array, const uint64_t* at, int64_t count, int64_t bytes) {
  constexpr int64_t AHEAD = 24;
  __m128 sum = _mm_setzero_ps();
  for (int64_t k = 0; k < count; ++k) {
    if (k + AHEAD < count) {
      const char* next = reinterpret_cast<const char*>(array + at[k + AHEAD]);
      for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(next + b, 0, 2);
    }
    const float* from = array + at[k];
    for (int64_t i = 0; i < bytes / 4; i += 4) sum = _mm_add_ps(sum, _mm_loadu_ps(from + i));
  }
  float lanes[4];
  _mm_storeu_ps(lanes, sum);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

extern "C" float random_reads(const float* array, const uint64_t* at, int64_t count, int64_t bytes,
                              int threads) {
  std::vector<float> sums(threads * 16);
  std::vector<std::thread> crew;
  const int64_t part = (count + threads - 1) / threads;
  for (int t = 0; t < threads; ++t) {
    crew.emplace_back([=, &sums] {
      const int64_t first = t * part, rest = count - first;
      if (rest > 0) sums[t * 16] = read_some(array, at + first, rest < part ? rest : part, bytes);
    });
  }
  for (std::thread& one : crew) one.join();
  float total = 0;
  for (int t = 0; t < threads; ++t) total += sums[t * 16];
  return total;
}

extern "C" void stream_writes(float* array, int64_t count, int threads) {
  std::vector<std::thread> crew;
  const int64_t part = (count / threads + 15) / 16 * 16;
  for (int t = 0; t < threads; ++t) {
    crew.emplace_back([=] {
      const int64_t first = t * part;
      const int64_t end = first + part < count ? first + part : count;
      const __m128 one = _mm_set1_ps(1.0f);
      for (int64_t i = first; i + 4 <= end; i += 4) _mm_stream_ps(array + i, one);
      _mm_sfence();
    });
  }
  for (std::thread& one : crew) one.join();
}
