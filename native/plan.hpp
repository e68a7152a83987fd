// Where the blocks of a row lie: the layout of src/gnomon/embedding/layout.py, as kernels need it.
#pragma once
#include <cstdint>

// Compiled for several instruction sets: a copy that the linker shared between them could hold
// instructions that this processor lacks. Free functions are static for that, members always inlined.
#define GNOMON_INLINE __attribute__((always_inline)) inline

namespace gnomon {

constexpr uint64_t PRIME = 2038074743;
constexpr uint64_t SIGN_WORDS = 1ull << 32;  // sign bits are hashed as blocks from this number on

enum class Hash { modular = 0, mixer = 1, identity = 2 };

struct Plan {
  int64_t tables, dim, block, unit;
  uint64_t size, slots, slots_inverse;  // ceil(2^64 / slots): remainders without a division
  Hash hash;
  bool signs, span;
  const int64_t* first_rows;  // (tables + 1,)
  uint64_t r[7];
  uint64_t seed;
  int64_t pieces;      // contiguous pieces of a row, before wrapping
  int64_t piece_size;  // weights in each of them, the last excepted

  GNOMON_INLINE int64_t rows(int64_t table) const { return first_rows[table + 1] - first_rows[table]; }
};

static inline uint64_t high_product(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(a) * b) >> 64);
}

static inline uint64_t mixed(uint64_t x, uint64_t c, uint64_t seed) {
  uint64_t z = (x + 1) * 0x9E3779B97F4A7C15ull + c * 0xD1B54A32D192ED03ull +
               seed * 0x2545F4914F6CDD1Dull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// Start of block c of row x. H is a template argument so that the loop over lookups has no branch on it.
template <Hash H>
static inline uint64_t start_of(const Plan& plan, uint64_t x, uint64_t c) {
  if (H == Hash::identity) return x * plan.dim + c * plan.block;
  if (H == Hash::mixer) return high_product(mixed(x, c, plan.seed), plan.slots) * plan.unit;
  const uint64_t h = (x * plan.r[3] + c * plan.r[2] + plan.r[1]) % PRIME;
  // Lemire, Kaser & Kurz, "Faster remainder by direct computation", 2019: exact for 32-bit operands.
  return high_product(plan.slots_inverse * h, plan.slots) * plan.unit;
}

static inline uint64_t start_of(const Plan& plan, uint64_t x, uint64_t c) {
  switch (plan.hash) {
    case Hash::identity: return start_of<Hash::identity>(plan, x, c);
    case Hash::mixer: return start_of<Hash::mixer>(plan, x, c);
    default: return start_of<Hash::modular>(plan, x, c);
  }
}

// A contiguous part of a row: elements [element, element + length) lie from `start` on, modulo `size`.
struct Piece {
  uint64_t start;
  int64_t element, length;
};

static inline Piece piece_of(const Plan& plan, uint64_t x, int64_t c) {
  if (!plan.span) {
    const int64_t element = c * plan.piece_size;
    const int64_t rest = plan.dim - element;
    return {start_of(plan, x, c), element, rest < plan.piece_size ? rest : plan.piece_size};
  }
  // Blocks run over rows: a row lies in one block, or in the end of one and the beginning of the next.
  const uint64_t first = x * plan.dim, number = first / plan.block, inside = first % plan.block;
  const int64_t left = static_cast<int64_t>(plan.block - inside);
  const int64_t head = plan.dim < left ? plan.dim : left;
  if (c == 0) return {start_of(plan, number, 0) + inside, 0, head};
  return {head < plan.dim ? start_of(plan, number + 1, 0) : 0, head, plan.dim - head};
}

// +1 or -1 for elements [element, element + length) of row x.
static inline void signs_of(const Plan& plan, uint64_t x, int64_t element, int64_t length, float* out) {
  if (plan.hash == Hash::modular) {
    for (int64_t i = 0; i < length; ++i) {
      const uint64_t h = (x * plan.r[4] + (element + i) * plan.r[5] + plan.r[6]) % PRIME;
      out[i] = h & 1 ? 1.0f : -1.0f;
    }
    return;
  }
  for (int64_t i = 0; i < length;) {
    const int64_t at = element + i;
    uint64_t word = mixed(x, SIGN_WORDS + at / 64, plan.seed) >> (at % 64);
    for (int64_t end = i + 64 - at % 64; i < end && i < length; ++i, word >>= 1) {
      out[i] = word & 1 ? 1.0f : -1.0f;
    }
  }
}

}  // namespace gnomon
