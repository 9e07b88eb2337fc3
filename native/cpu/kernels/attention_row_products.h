#pragma once
// The two products of attention_rows.cpp over keys and values as they lie, and the fetching of rows to come meanwhile.

#include "cpu/kernels/attention_kv.h"

namespace attn::cpu::ATTN_ISA {

/// What is fetched beside the arithmetic on a row: the lines so many bytes after it; nothing where other rows of the same keys have fetched it.
template <bool kOn>
struct Fetch {
  std::int64_t bytes = 0;

  /// For the kBytes at `row` + `offset`, a multiple of kBytes. Beyond the last row lies what is never read: fetching it does no harm.
  template <std::int64_t kBytes>
  ATTN_INLINE void lines(const void* row, std::int64_t offset) const {
    if constexpr (!kOn) {
      return;
    } else if constexpr (kBytes % 64 != 0) {
      if (offset % 64 < kBytes) __builtin_prefetch(static_cast<const std::byte*>(row) + offset + bytes);
    } else {
#pragma GCC unroll 16
      for (std::int64_t i = 0; i < kBytes; i += 64) __builtin_prefetch(static_cast<const std::byte*>(row) + offset + bytes + i);
    }
  }
};

/// Rows of one head among those of a block: row j of the block is at rows[j] + offset.
struct HeadBlock {
  const std::byte* const* rows;
  std::int64_t offset;
  std::int64_t dim;
};

/// sums[r, i] += q[r] · key[i], lane by lane: each key is loaded and converted once for all rows; the queries are dealt as
/// load_pair<T>() deals.
template <class T, int kRows, int kKeys, bool kFetch>
ATTN_INLINE void multiply_rows(const float* queries, std::int64_t query_stride, const T* const (&key)[kKeys], std::int64_t dim, Vec (&sums)[kLanes],
                               Fetch<kFetch> ahead) {
  constexpr int kMost = kLanes < 16 ? 2 : 4;  // more would not leave registers enough
  constexpr int kTogether = kKeys < kMost ? kKeys : kMost;
  constexpr std::int64_t kStepBytes = 2 * kLanes * sizeof(T);
  std::int64_t d = 0;
  for (; d + 2 * kLanes <= dim; d += 2 * kLanes) {
#pragma GCC unroll 16
    for (int first = 0; first < kKeys; first += kTogether) {
      Vec k[kTogether][2];
#pragma GCC unroll 4
      for (int i = 0; i < kTogether; ++i) {
        load_pair(key[first + i] + d, k[i]);
        ahead.template lines<kStepBytes>(key[first + i], d * static_cast<std::int64_t>(sizeof(T)));
      }
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const Vec q = load(queries + r * query_stride + d + half * kLanes);
#pragma GCC unroll 4
          for (int i = 0; i < kTogether; ++i) sums[r * kKeys + first + i] = q * k[i][half] + sums[r * kKeys + first + i];
        }
      }
    }
  }
  for (; d < dim; d += kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kKeys; ++i) {
      const Vec k = d + kLanes <= dim ? load(key[i] + d) : load_partial(key[i] + d, dim - d);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sums[r * kKeys + i] = load(queries + r * query_stride + d) * k + sums[r * kKeys + i];
    }
  }
}

/// logits[r, j] of kRows rows for the keys [lo, hi): kLanes sums at a time, of kRows rows and kLanes / kRows keys.
template <class T, int kRows, bool kFetch>
void dot_rows(const float* queries, std::int64_t query_stride, const HeadBlock& keys, std::int64_t lo, std::int64_t hi, float* logits, Fetch<kFetch> ahead) {
  constexpr int kKeys = kLanes / kRows;
  const std::byte* const* rows = keys.rows;
  const T* key[kKeys];
  std::int64_t j = lo;
  for (; j + kKeys <= hi; j += kKeys) {
#pragma GCC unroll 16
    for (int i = 0; i < kKeys; ++i) key[i] = reinterpret_cast<const T*>(rows[j + i] + keys.offset);
    Vec sums[kLanes] = {};
    multiply_rows<T, kRows, kKeys>(queries, query_stride, key, keys.dim, sums, ahead);
    const Vec dots = reduce_add_each(sums);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) __builtin_memcpy(logits + r * kTileKv + j, reinterpret_cast<const float*>(&dots) + r * kKeys, kKeys * sizeof(float));
  }
  if (j < hi) {
    for (int i = 0; i < kKeys; ++i) {
      const std::int64_t n = min_of(j + i, hi - 1);  // beyond the end: the last key again, its result is dropped
      key[i] = reinterpret_cast<const T*>(rows[n] + keys.offset);
    }
    Vec sums[kLanes] = {};
    multiply_rows<T, kRows, kKeys>(queries, query_stride, key, keys.dim, sums, ahead);
    float dots[kLanes];
    store(dots, reduce_add_each(sums));
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < hi - j; ++i) logits[r * kTileKv + j + i] = dots[r * kKeys + i];
    }
  }
}

/// Columns [d, d + kVecs vectors) of O[r] = O[r] · factor[r] + Σ p[r, j] v[j], dealt as load_pair<T>() deals where kVecs is even;
/// `kPartial` reads the rest of a row only. factors: null where all are 1.
template <class T, int kRows, int kVecs, bool kPartial, bool kFetch>
ATTN_INLINE void add_columns(const float* probabilities, const float* factors, const HeadBlock& values, std::int64_t lo, std::int64_t hi, std::int64_t d,
                             float* accumulator, std::int64_t stride, Fetch<kFetch> ahead) {
  static_assert(kVecs == 1 || kVecs % 2 == 0, "vectors are loaded by pairs");
  Vec sums[kRows][kVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) sums[r][v] = load(accumulator + r * stride + d + v * kLanes);
  }
  if (factors) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) sums[r][v] = sums[r][v] * factors[r];
    }
  }
  constexpr std::int64_t kBytes = kVecs * kLanes * sizeof(T);
  const std::int64_t offset = values.offset + d * static_cast<std::int64_t>(sizeof(T));
#pragma GCC unroll 4
  for (std::int64_t j = lo; j < hi; ++j) {
    const T* value = reinterpret_cast<const T*>(values.rows[j] + offset);
    ahead.template lines<kBytes>(values.rows[j], offset);
    Vec row[kVecs + 1];
    if constexpr (kVecs == 1) {
      row[0] = kPartial ? load_partial(value, values.dim - d) : load(value);
    } else {
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; v += 2) load_pair(value + v * kLanes, reinterpret_cast<Vec(&)[2]>(row[v]));
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec p = broadcast(probabilities[r * kTileKv + j]);
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) sums[r][v] = p * row[v] + sums[r][v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) store(accumulator + r * stride + d + v * kLanes, sums[r][v]);
  }
}

/// Rows whose sums of two vectors stay in registers: 8 of the 16 registers that hold 8 lanes or fewer.
constexpr int kMostAddRows = kLanes < 16 ? 4 : 8;

template <class T, int kRows, bool kFetch>
void add_rows(const float* probabilities, const float* factors, const HeadBlock& values, std::int64_t lo, std::int64_t hi, float* accumulator,
              std::int64_t stride, Fetch<kFetch> ahead) {
  constexpr int kVecs = kRows < 4 ? 8 / kRows : kRows < 8 && kLanes == 16 ? 4 : 2;
  constexpr std::int64_t kStep = kVecs * kLanes;
  std::int64_t d = 0;
  for (; d + kStep <= values.dim; d += kStep) {
    add_columns<T, kRows, kVecs, false>(probabilities, factors, values, lo, hi, d, accumulator, stride, ahead);
  }
  for (; kVecs > 2 && d + 2 * kLanes <= values.dim; d += 2 * kLanes) {
    add_columns<T, kRows, 2, false>(probabilities, factors, values, lo, hi, d, accumulator, stride, ahead);
  }
  for (; d + kLanes <= values.dim; d += kLanes) add_columns<T, kRows, 1, false>(probabilities, factors, values, lo, hi, d, accumulator, stride, ahead);
  if (d < values.dim) add_columns<T, kRows, 1, true>(probabilities, factors, values, lo, hi, d, accumulator, stride, ahead);
}

}  // namespace attn::cpu::ATTN_ISA
