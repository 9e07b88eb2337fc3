// Few query rows against one kv head (decoding): keys and values are read as they lie, once per block, and converted in
// registers; nothing is packed. Query by query, whose rows see the same keys, so no masks and no masked values arise.
//   s[r, j] = q[r] · k[j];  p = exp(s - max);  O[r] = O[r] · exp(old max - max) + Σ p[r, j] v[j]
// Any head dims and dtypes; features must be adjacent and keys of one part. Scratch: rows · (head_dim_qk + kTileKv) floats.

#include "cpu/kernels/attention_kv.h"
#include "cpu/kernels/attention_softmax.h"

namespace attn::cpu::ATTN_ISA {
namespace {

constexpr std::int64_t kRowStride = kTileKv;
/// Keys ahead of the current one whose rows are fetched: decoding waits for memory, and rows of one head lie apart.
constexpr int kPrefetchKeys = 16;

struct RowsScratch {
  float* queries;  // [rows, query_stride]
  float* logits;   // [rows, kRowStride]
};

ATTN_INLINE std::int64_t query_floats(const AttentionProblem& p, int rows) { return round_up(rows * query_stride(p), 16); }

ATTN_INLINE void prefetch_row(const std::byte* row, std::int64_t bytes) {
  for (std::int64_t offset = 0; offset < bytes; offset += 64) __builtin_prefetch(row + offset);
}

/// Block-local addresses: keys and values [lo, hi), and some keys of the next block to fetch early.
struct BlockRows {
  const std::byte* keys[kTileKv + kPrefetchKeys];
  const std::byte* values[kTileKv];
};

/// logits[r, j] of kRows rows for the keys [lo, hi): kLanes sums at a time, of kRows rows and kLanes / kRows keys.
template <class T, int kRows, bool kPrefetch>
void dot_rows(const float* queries, std::int64_t query_stride, const BlockRows& block, std::int64_t lo, std::int64_t hi, std::int64_t dim,
              std::int64_t value_bytes, float* logits) {
  constexpr int kKeys = kLanes / kRows;
  const std::int64_t whole = dim / kLanes * kLanes;
  for (std::int64_t j = lo; j < hi; j += kKeys) {
    const T* key[kKeys];
#pragma GCC unroll 16
    for (int i = 0; i < kKeys; ++i) {
      const std::int64_t n = min_of(j + i, hi - 1);  // beyond the end: the last key again, its result is dropped
      key[i] = reinterpret_cast<const T*>(block.keys[n]);
      if constexpr (kPrefetch) {
        prefetch_row(block.keys[n + kPrefetchKeys], dim * static_cast<std::int64_t>(sizeof(T)));
        prefetch_row(block.values[n], value_bytes);
      }
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
    if (whole < dim) {
#pragma GCC unroll 16
      for (int i = 0; i < kKeys; ++i) {
        const Vec k = load_partial(key[i] + whole, dim - whole);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) sums[r * kKeys + i] = load(queries + r * query_stride + whole) * k + sums[r * kKeys + i];
      }
    }
    float dots[kLanes];
    store(dots, reduce_add_each(sums));
    const int count = static_cast<int>(min_of(kKeys, hi - j));
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < count; ++i) logits[r * kRowStride + j + i] = dots[r * kKeys + i];
    }
  }
}

/// Columns [d, d + kVecs vectors) of O[r] = O[r] · factor[r] + Σ p[r, j] v[j]; `partial` reads the rest of a row only.
template <class T, int kRows, int kVecs, bool kPartial>
ATTN_INLINE void add_columns(const float* probabilities, const float* factors, const BlockRows& block, std::int64_t lo, std::int64_t hi, std::int64_t d,
                             std::int64_t dim, float* accumulator, std::int64_t stride) {
  Vec sums[kRows][kVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) sums[r][v] = load(accumulator + r * stride + d + v * kLanes) * factors[r];
  }
  for (std::int64_t j = lo; j < hi; ++j) {
    const T* value = reinterpret_cast<const T*>(block.values[j]) + d;
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) {
      const Vec row = kPartial ? load_partial(value, dim - d) : load(value + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sums[r][v] = broadcast(probabilities[r * kRowStride + j]) * row + sums[r][v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) store(accumulator + r * stride + d + v * kLanes, sums[r][v]);
  }
}

template <class T, int kRows>
void add_rows(const float* probabilities, const float* factors, const BlockRows& block, std::int64_t lo, std::int64_t hi, std::int64_t dim, float* accumulator,
              std::int64_t stride) {
  constexpr int kVecs = kRows < 8 ? 8 / kRows : 1;
  std::int64_t d = 0;
  for (; d + kVecs * kLanes <= dim; d += kVecs * kLanes)
    add_columns<T, kRows, kVecs, false>(probabilities, factors, block, lo, hi, d, dim, accumulator, stride);
  for (; d + kLanes <= dim; d += kLanes) add_columns<T, kRows, 1, false>(probabilities, factors, block, lo, hi, d, dim, accumulator, stride);
  if (d < dim) add_columns<T, kRows, 1, true>(probabilities, factors, block, lo, hi, d, dim, accumulator, stride);
}

/// Calls fn with row and count for shares of kLanes, …, 4, 2, 1 rows (8 at most).
template <int kRows, class Fn>
ATTN_INLINE void share_rows(int first, int end, Fn&& fn) {
  while (end - first >= kRows) {
    fn(first, std::integral_constant<int, kRows>{});
    first += kRows;
  }
  if constexpr (kRows > 1) share_rows<kRows / 2>(first, end, fn);
}

constexpr int kShare = kLanes < 8 ? kLanes : 8;

/// The rows of one query against the keys [lo, hi) of one block.
template <class T>
ATTN_INLINE void query_block(const AttentionTile& t, const RowsScratch& scratch, const BlockRows& rows, std::int64_t block, KeyRange keys, std::int64_t query,
                             int row_first, int row_end, bool first_use) {
  const AttentionProblem& p = *t.problem;
  const std::int64_t q_stride = query_stride(p), stride = accumulator_stride(p);
  const std::int64_t value_bytes = p.head_dim_vo * static_cast<std::int64_t>(sizeof(T));
  float factors[kMaxDirectRows];
  share_rows<kShare>(row_first, row_end, [&](int r, auto count) {
    const float* q = scratch.queries + r * q_stride;
    float* logits = scratch.logits + r * kRowStride;
    if (first_use && r == row_first) {
      dot_rows<T, count, true>(q, q_stride, rows, keys.begin, keys.end, p.head_dim_qk, value_bytes, logits);
    } else {
      dot_rows<T, count, false>(q, q_stride, rows, keys.begin, keys.end, p.head_dim_qk, value_bytes, logits);
    }
  });
  for (int r = row_first; r < row_end; ++r) {
    const std::int64_t head = t.kv_head * static_cast<std::int64_t>(p.group_size) + (t.row_begin + r) % p.group_size;
    factors[r] = softmax_block(scratch.logits + r * kRowStride, logit_row(p, *t.sequence, query, head, block), keys.begin, keys.end, t.max + r, t.sum + r);
  }
  share_rows<kShare>(row_first, row_end, [&](int r, auto count) {
    add_rows<T, count>(scratch.logits + r * kRowStride, factors + r, rows, keys.begin, keys.end, p.head_dim_vo, t.accumulator + r * stride, stride);
  });
}

template <class T>
void all_blocks(const AttentionTile& t, const RowsScratch& scratch, KeyRange keys) {
  const AttentionProblem& p = *t.problem;
  const SequenceSpan& s = *t.sequence;
  const KvRows k = kv_rows(p, s, p.k[0], s.k_start[0], t.kv_head);
  const KvRows v = kv_rows(p, s, p.v, s.v_start, t.kv_head);
  for (std::int64_t block = keys.begin / kTileKv * kTileKv; block < keys.end; block += kTileKv) {
    const std::int64_t lo = max_of(keys.begin - block, 0), hi = min_of(keys.end - block, kTileKv);
    BlockRows rows;
    for (std::int64_t j = lo; j < hi; ++j) rows.values[j] = v.row(block + j);
    for (std::int64_t j = lo; j < hi + kPrefetchKeys; ++j) rows.keys[j] = k.row(min_of(block + j, keys.end - 1));
    bool first_use = true;
    int r = 0;
    while (r < t.num_rows) {
      const std::int64_t query = (t.row_begin + r) / p.group_size;
      const int end = static_cast<int>(min_of((query + 1) * p.group_size - t.row_begin, t.num_rows));
      const KeyRange all = visible_keys(p, s, query);
      const KeyRange seen{max_of(all.begin - block, lo), min_of(all.end - block, hi)};
      if (seen.begin < seen.end) {
        query_block<T>(t, scratch, rows, block, seen, query, r, end, first_use);
        first_use = false;
      }
      r = end;
    }
  }
}

}  // namespace

std::size_t attention_rows_scratch(const AttentionProblem& problem, int num_rows) {
  return static_cast<std::size_t>(query_floats(problem, num_rows) + num_rows * kRowStride) * sizeof(float);
}

void attention_rows(const AttentionTile& t) {
  clear_state(t);
  const KeyRange keys = tile_keys(t);
  if (keys.begin >= keys.end) return;
  float* memory = reinterpret_cast<float*>(t.scratch);
  const RowsScratch scratch{memory, memory + query_floats(*t.problem, t.num_rows)};
  pack_queries(t, scratch.queries);
  with_dtype(t.problem->k[0].dtype, [&](auto* typed) { all_blocks<ElementOf<decltype(typed)>>(t, scratch, keys); });
}

}  // namespace attn::cpu::ATTN_ISA
