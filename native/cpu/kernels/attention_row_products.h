#pragma once
// The two products of attention_rows.cpp over keys and values as they lie, and the fetching of rows to come meanwhile:
// decoding waits for memory, and hardware prefetchers lose track of rows that are read head by head.

#include "cpu/kernels/attention_kv.h"

namespace attn::cpu::ATTN_ISA {

ATTN_INLINE void prefetch_row(const std::byte* row, std::int64_t bytes) {
  for (std::int64_t offset = 0; offset < bytes; offset += 64) __builtin_prefetch(row + offset);
}

/// Other rows of the same keys have fetched what there is to fetch.
struct NoPrefetch {
  ATTN_INLINE void at_key(std::int64_t, bool) {}
};

/// One head: at key j of the block the row key_rows[j], which lies ahead, and the key's own value, needed once the logits are done.
struct HeadPrefetch {
  const std::byte* const* key_rows;
  const std::byte* const* value_rows;
  std::int64_t key_bytes, value_bytes;

  ATTN_INLINE void at_key(std::int64_t j, bool) {
    prefetch_row(key_rows[j], key_bytes);
    prefetch_row(value_rows[j], value_bytes);
  }
};

/// Several heads: for each key of each head the next piece of one head's width, in the order in which the pieces lie in memory.
struct SharedPrefetch {
  const std::byte* const* key_rows;
  const std::byte* const* value_rows;
  std::int64_t key_bytes, value_bytes;
  std::int64_t key_head_bytes, value_head_bytes;  // from head to head
  int num_heads;
  int head = 0;

  ATTN_INLINE void at_key(std::int64_t, bool is_new) {
    if (!is_new) return;
    prefetch_row(*key_rows + head * key_head_bytes, key_bytes);
    prefetch_row(*value_rows + head * value_head_bytes, value_bytes);
    if (++head < num_heads) return;
    head = 0;
    ++key_rows;
    ++value_rows;
  }
};

/// Rows of one head among those of a block: row j of the block is at rows[j] + offset.
struct HeadBlock {
  const std::byte* const* rows;
  std::int64_t offset;
  std::int64_t dim;
};

/// logits[r, j] of kRows rows for the keys [lo, hi): kLanes sums at a time, of kRows rows and kLanes / kRows keys.
template <class T, int kRows, class Prefetch>
void dot_rows(const float* queries, std::int64_t query_stride, const HeadBlock& keys, std::int64_t lo, std::int64_t hi, float* logits, Prefetch& prefetch) {
  constexpr int kKeys = kLanes / kRows;
  const std::int64_t whole = keys.dim / kLanes * kLanes;
  Prefetch ahead = prefetch;  // a copy can stay in registers
  for (std::int64_t j = lo; j < hi; j += kKeys) {
    const T* key[kKeys];
#pragma GCC unroll 16
    for (int i = 0; i < kKeys; ++i) {
      const std::int64_t n = min_of(j + i, hi - 1);  // beyond the end: the last key again, its result is dropped
      key[i] = reinterpret_cast<const T*>(keys.rows[n] + keys.offset);
      ahead.at_key(n, j + i < hi);
    }
    Vec sums[kLanes] = {};
    for (std::int64_t d = 0; d < whole; d += kLanes) {
#pragma GCC unroll 16
      for (int i = 0; i < kKeys; ++i) {
        const Vec k = load(key[i] + d);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) sums[r * kKeys + i] = load(queries + r * query_stride + d) * k + sums[r * kKeys + i];
      }
    }
    if (whole < keys.dim) {
#pragma GCC unroll 16
      for (int i = 0; i < kKeys; ++i) {
        const Vec k = load_partial(key[i] + whole, keys.dim - whole);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) sums[r * kKeys + i] = load(queries + r * query_stride + whole) * k + sums[r * kKeys + i];
      }
    }
    float dots[kLanes];
    store(dots, reduce_add_each(sums));
    const int count = static_cast<int>(min_of(kKeys, hi - j));
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < count; ++i) logits[r * kTileKv + j + i] = dots[r * kKeys + i];
    }
  }
  prefetch = ahead;
}

/// Columns [d, d + kVecs vectors) of O[r] = O[r] · factor[r] + Σ p[r, j] v[j]; `kPartial` reads the rest of a row only.
template <class T, int kRows, int kVecs, bool kPartial>
ATTN_INLINE void add_columns(const float* probabilities, const float* factors, const HeadBlock& values, std::int64_t lo, std::int64_t hi, std::int64_t d,
                             float* accumulator, std::int64_t stride) {
  Vec sums[kRows][kVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) sums[r][v] = load(accumulator + r * stride + d + v * kLanes) * factors[r];
  }
  const std::int64_t offset = values.offset + d * static_cast<std::int64_t>(sizeof(T));
  for (std::int64_t j = lo; j < hi; ++j) {
    const T* value = reinterpret_cast<const T*>(values.rows[j] + offset);
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) {
      const Vec row = kPartial ? load_partial(value, values.dim - d) : load(value + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sums[r][v] = broadcast(probabilities[r * kTileKv + j]) * row + sums[r][v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) store(accumulator + r * stride + d + v * kLanes, sums[r][v]);
  }
}

template <class T, int kRows>
void add_rows(const float* probabilities, const float* factors, const HeadBlock& values, std::int64_t lo, std::int64_t hi, float* accumulator,
              std::int64_t stride) {
  constexpr int kVecs = kRows < 8 ? 8 / kRows : 1;
  constexpr std::int64_t kStep = kVecs * kLanes;
  std::int64_t d = 0;
  for (; d + kStep <= values.dim; d += kStep) {
    add_columns<T, kRows, kVecs, false>(probabilities, factors, values, lo, hi, d, accumulator, stride);
  }
  for (; d + kLanes <= values.dim; d += kLanes) add_columns<T, kRows, 1, false>(probabilities, factors, values, lo, hi, d, accumulator, stride);
  if (d < values.dim) add_columns<T, kRows, 1, true>(probabilities, factors, values, lo, hi, d, accumulator, stride);
}

}  // namespace attn::cpu::ATTN_ISA
