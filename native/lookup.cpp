// Forward, around the kernel: the batch is cut into tiles, ids are checked and hashed, rows are pooled.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "drivers.hpp"
#include "parallel.hpp"

namespace gnomon {

namespace {

constexpr int64_t LANES = 16;
constexpr int64_t AHEAD = 32;           // starts that the kernel may fetch behind the last
constexpr int64_t TILE_LOOKUPS = 1024;  // their starts stay in the first cache
constexpr int64_t TILE_TABLEWISE = 8192;
constexpr int64_t STREAM_BYTES = int64_t{4} << 20;  // an output above this would only push the array out

bool has_kernel(int64_t lines) {
  return lines == 1 || lines == 2 || lines == 3 || lines == 4 || lines == 6 || lines == 8 ||
         lines == 16;
}

bool has_block(int64_t lines) { return lines == 1 || lines == 2 || lines == 4; }

// Rows are whole lines, blocks too, and nothing is signed: the kernel for lines can read them in place.
bool is_plain(const Plan& plan) {
  return !plan.signs && !plan.span && plan.dim % LANES == 0 && has_kernel(plan.dim / LANES) &&
         plan.dim % plan.piece_size == 0 && plan.piece_size % LANES == 0 &&
         (plan.pieces == 1 || has_block(plan.piece_size / LANES));
}

struct Found {
  std::mutex mutex;
  Wrong first;
  std::atomic<bool> any{false};

  void note(int64_t table, int64_t sample, int64_t id) {
    std::lock_guard<std::mutex> lock(mutex);
    const bool earlier = first.table < 0 || table < first.table ||
                         (table == first.table && sample < first.sample);
    if (earlier) first = {table, sample, id};
    any = true;
  }
};

// The ids of a tile as global rows, in the order in which the kernel walks; those out of range as row 0.
template <class Id>
void rows_of(const Plan& plan, const Tile& tile, uint64_t* out, Found& found) {
  const Bags& bags = *tile.bags;
  const Id* indices = static_cast<const Id*>(bags.indices);
  for (int64_t t = tile.table; t < tile.table_end; ++t) {
    const uint64_t first = plan.first_rows[t], rows = plan.rows(t);
    for (int64_t b = tile.sample; b < tile.sample_end; ++b) {
      const int64_t length = bags.length(t, b);
      int64_t at = bags.at(t, b, 0);
      const int64_t step = bags.offsets ? 1 : bags.by_l;
      for (int64_t l = 0; l < length; ++l, at += step) {
        const int64_t id = indices[at];
        if (static_cast<uint64_t>(id) >= rows) {
          found.note(t, b, id);
          *out++ = first;
        } else {
          *out++ = first + id;
        }
      }
    }
  }
}

// Starts of every block; false if one wraps around the end of the array.
template <Hash H>
bool starts_of(const Plan& plan, const uint64_t* rows, int64_t count, uint64_t* out) {
  const uint64_t last = plan.size - plan.piece_size;
  bool whole = true;
  for (int64_t k = 0; k < count; ++k) {
    for (int64_t c = 0; c < plan.pieces; ++c) {
      const uint64_t start = start_of<H>(plan, rows[k], c);
      whole &= start <= last;
      *out++ = start;
    }
  }
  return whole;
}

bool starts_of(const Plan& plan, const uint64_t* rows, int64_t count, uint64_t* out) {
  switch (plan.hash) {
    case Hash::identity: return starts_of<Hash::identity>(plan, rows, count, out);
    case Hash::mixer: return starts_of<Hash::mixer>(plan, rows, count, out);
    default: return starts_of<Hash::modular>(plan, rows, count, out);
  }
}

int64_t lookups_of(const Tile& tile) {
  int64_t count = 0;
  for (int64_t t = tile.table; t < tile.table_end; ++t) {
    if (tile.bags->offsets) {
      const int64_t* offsets = tile.bags->offsets + t * tile.bags->batch;
      count += offsets[tile.sample_end] - offsets[tile.sample];
    } else {
      count += (tile.sample_end - tile.sample) * tile.bags->size;
    }
  }
  return count;
}

struct Memory {
  std::vector<uint64_t> rows, starts;
  std::vector<float> scratch;
};

void pool_tile(const Plan& plan, Tile tile, bool plain, Memory& memory, Found& found) {
  const int64_t count = lookups_of(tile);
  memory.rows.resize(count + AHEAD);
  if (tile.bags->wide) {
    rows_of<int64_t>(plan, tile, memory.rows.data(), found);
  } else {
    rows_of<int32_t>(plan, tile, memory.rows.data(), found);
  }
  tile.rows = memory.rows.data();
  if (plain) {
    memory.starts.resize((count + AHEAD) * plan.pieces);
    const bool whole = starts_of(plan, memory.rows.data(), count, memory.starts.data());
    std::fill_n(memory.starts.data() + count * plan.pieces, AHEAD * plan.pieces, 0);
    tile.starts = whole ? memory.starts.data() : nullptr;
  }
  if (!tile.starts) {
    memory.scratch.resize(2 * plan.dim);
    tile.scratch = memory.scratch.data();
    tile.stream = false;
  }
  kernels()->pool(tile);
}

}  // namespace

Wrong lookup(const Plan& plan, const void* array, Kind kind, const Bags& bags, float* out,
             int threads) {
  Found found;
  const int64_t bag_count = plan.tables * bags.batch;
  if (bag_count == 0) return found.first;
  const bool plain = is_plain(plan);
  const int64_t lookups = bags.offsets ? bags.offsets[bag_count] : bag_count * bags.size;
  Tile whole{};
  whole.plan = &plan;
  whole.bags = &bags;
  whole.array = array;
  whole.kind = kind;
  whole.out = out;
  whole.stream = bag_count * plan.dim * 4 >= STREAM_BYTES &&
                 reinterpret_cast<uintptr_t>(out) % 64 == 0;
  // One row a bag: samples one after another, so that the output is written as it lies. Many: a whole
  // table first, so that a row that comes again is still in the cache.
  const bool tablewise = lookups >= 2 * bag_count;
  const double a_bag = std::max(1.0, static_cast<double>(lookups) / bag_count);
  const int64_t samples = std::max<int64_t>(
      1, static_cast<int64_t>(tablewise ? TILE_TABLEWISE / a_bag
                                        : TILE_LOOKUPS / (a_bag * plan.tables)));
  const int64_t parts = (bags.batch + samples - 1) / samples;
  const int64_t tiles = tablewise ? parts * plan.tables : parts;
  std::vector<Memory> memories(std::max(threads, 1));
  parallel(tiles, threads, [&](int64_t piece, int worker) {
    Tile tile = whole;
    tile.table = tablewise ? piece / parts : 0;
    tile.table_end = tablewise ? tile.table + 1 : plan.tables;
    tile.sample = piece % parts * samples;
    tile.sample_end = std::min(tile.sample + samples, bags.batch);
    pool_tile(plan, tile, plain, memories[worker], found);
  });
  return found.first;
}

Wrong weight_gradient(const Plan& plan, const void* array, Kind kind, const Bags& bags,
                      const float* gradient, float* out, int threads) {
  Found found;
  const Kernels* use = kernels();
  std::vector<Memory> memories(std::max(threads, 1));
  parallel(bags.batch, threads, [&](int64_t sample, int worker) {
    std::vector<float>& scratch = memories[worker].scratch;
    scratch.resize(2 * plan.dim);
    for (int64_t t = 0; t < plan.tables; ++t) {
      const float* given = gradient + (sample * plan.tables + t) * plan.dim;
      const int64_t length = bags.length(t, sample);
      for (int64_t l = 0; l < length; ++l) {
        const int64_t id = bags.index(bags.at(t, sample, l));
        if (static_cast<uint64_t>(id) >= static_cast<uint64_t>(plan.rows(t))) {
          found.note(t, sample, id);
          continue;
        }
        const uint64_t row = plan.first_rows[t] + id;
        use->gather(plan, array, kind, row, scratch.data());
        if (plan.signs) {
          signs_of(plan, row, 0, plan.dim, scratch.data() + plan.dim);
          for (int64_t i = 0; i < plan.dim; ++i) scratch[i] *= scratch[plan.dim + i];
        }
        out[bags.weight_at(plan.tables, t, sample, l)] = use->dot(scratch.data(), given, plan.dim);
      }
    }
  });
  return found.first;
}

void dot_interaction(const Interaction& job, int threads) {
  constexpr int64_t SAMPLES = 64;
  const int64_t parts = (job.batch + SAMPLES - 1) / SAMPLES;
  parallel(parts, threads, [&](int64_t part, int) {
    Interaction piece = job;
    const int64_t first = part * SAMPLES;
    piece.batch = std::min(SAMPLES, job.batch - first);
    piece.dense += first * job.dim;
    piece.embeddings += first * job.tables * job.dim;
    piece.out += first * job.row_stride;
    kernels()->interact(piece);
  });
}

}  // namespace gnomon
