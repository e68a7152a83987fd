// Sixteen float32, a cache line, as one value: in one AVX-512 register, two of AVX2, or an array that the
// compiler maps to whatever there is. Kernels are written in lines, once. `fused(x, y, z)` is x y + z with one
// rounding, which is slow where the processor has no instruction for it.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace gnomon {
namespace GNOMON_ISA {

constexpr int64_t LANES = 16;

static inline float widened(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

static inline uint16_t narrowed(float value) {  // to nearest, ties to even; NaN stays NaN
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static inline float as_float(float value) { return value; }
static inline float as_float(uint16_t value) { return widened(value); }
static inline void put(float* at, float value) { *at = value; }
static inline void put(uint16_t* at, float value) { *at = narrowed(value); }

#if defined(__AVX512F__)

struct Line {
  __m512 v;
  static Line zero() { return {_mm512_setzero_ps()}; }
  static Line all(float x) { return {_mm512_set1_ps(x)}; }
  static Line load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Line load(const uint16_t* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
  }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void stream(float* p) const { _mm512_stream_ps(p, v); }
  friend Line operator+(Line a, Line b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Line operator-(Line a, Line b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Line operator*(Line a, Line b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Line operator/(Line a, Line b) { return {_mm512_div_ps(a.v, b.v)}; }
  friend Line fused(Line a, Line b, Line c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  Line root() const { return {_mm512_sqrt_ps(v)}; }
  // Lanes summed in a fixed tree: halves, quarters, pairs.
  float sum() const {
    const __m256 low = _mm512_castps512_ps256(v);
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
    const __m256 half = _mm256_add_ps(low, high);
    const __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
  }
};
static inline void fence() { _mm_sfence(); }

#elif defined(__AVX2__)

struct Line {
  __m256 a, b;
  static Line zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Line all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static Line load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static __m256 widen(const uint16_t* p) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
  static Line load(const uint16_t* p) { return {widen(p), widen(p + 8)}; }
  void store(float* p) const { _mm256_storeu_ps(p, a), _mm256_storeu_ps(p + 8, b); }
  void stream(float* p) const { _mm256_stream_ps(p, a), _mm256_stream_ps(p + 8, b); }
  friend Line operator+(Line x, Line y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
  friend Line operator-(Line x, Line y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
  friend Line operator*(Line x, Line y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
  friend Line operator/(Line x, Line y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
  friend Line fused(Line x, Line y, Line z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
  }
  Line root() const { return {_mm256_sqrt_ps(a), _mm256_sqrt_ps(b)}; }
  float sum() const {
    const __m256 half = _mm256_add_ps(a, b);
    const __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
  }
};
static inline void fence() { _mm_sfence(); }

#else

struct Line {
  float v[LANES];
  static Line zero() { return all(0.0f); }
  static Line all(float x) {
    Line r;
    for (int i = 0; i < LANES; ++i) r.v[i] = x;
    return r;
  }
  static Line load(const float* p) {
    Line r;
    std::memcpy(r.v, p, sizeof r.v);
    return r;
  }
  static Line load(const uint16_t* p) {
    Line r;
    for (int i = 0; i < LANES; ++i) r.v[i] = widened(p[i]);
    return r;
  }
  void store(float* p) const { std::memcpy(p, v, sizeof v); }
  void stream(float* p) const {
#if defined(__SSE2__)
    for (int i = 0; i < LANES; i += 4) _mm_stream_ps(p + i, _mm_loadu_ps(v + i));
#else
    store(p);
#endif
  }
  template <class F>
  static Line each(const Line& x, const Line& y, F f) {
    Line r;
    for (int i = 0; i < LANES; ++i) r.v[i] = f(x.v[i], y.v[i]);
    return r;
  }
  friend Line operator+(const Line& x, const Line& y) {
    return each(x, y, [](float a, float b) { return a + b; });
  }
  friend Line operator-(const Line& x, const Line& y) {
    return each(x, y, [](float a, float b) { return a - b; });
  }
  friend Line operator*(const Line& x, const Line& y) {
    return each(x, y, [](float a, float b) { return a * b; });
  }
  friend Line operator/(const Line& x, const Line& y) {
    return each(x, y, [](float a, float b) { return a / b; });
  }
  friend Line fused(const Line& x, const Line& y, const Line& z) {
    Line r;
    for (int i = 0; i < LANES; ++i) r.v[i] = __builtin_fmaf(x.v[i], y.v[i], z.v[i]);
    return r;
  }
  Line root() const {
    Line r;
    for (int i = 0; i < LANES; ++i) r.v[i] = __builtin_sqrtf(v[i]);
    return r;
  }
  float sum() const {
    float half[8], quarter[4];
    for (int i = 0; i < 8; ++i) half[i] = v[i] + v[i + 8];
    for (int i = 0; i < 4; ++i) quarter[i] = half[i] + half[i + 4];
    return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
  }
};
static inline void fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

#endif

static inline void narrow(const Line& line, uint16_t* out) {
  float wide[LANES];
  line.store(wide);
  for (int64_t i = 0; i < LANES; ++i) out[i] = narrowed(wide[i]);
}
static inline void put(float* at, const Line& line) { line.store(at); }
static inline void put(uint16_t* at, const Line& line) { narrow(line, at); }

}  // namespace GNOMON_ISA
}  // namespace gnomon
