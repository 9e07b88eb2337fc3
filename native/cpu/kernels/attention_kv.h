#pragma once
// Where rows of queries, keys and values lie: the one place that knows strides and pages.

#include "cpu/kernels/attention_tile.h"

namespace attn::cpu::ATTN_ISA {

ATTN_INLINE std::int64_t bytes_of(DType dtype) { return dtype == DType::kFloat32 ? 4 : dtype == DType::kFloat8E4M3 ? 1 : 2; }

/// Features of a latent that share a scale: LatentRow::kGroupDim.
inline constexpr std::int64_t kScaledDim = 128;

template <class T>
inline constexpr bool kHasScales = false;
template <>
inline constexpr bool kHasScales<Float8> = true;

/// The key or value rows of one head of one sequence.
struct KvRows {
  const std::byte* base;  // row 0; with pages, row 0 of page 0
  std::int64_t row_bytes, page_bytes;
  const std::int32_t* pages;
  std::int64_t page_size, num_pages;
  std::int64_t head_bytes;  // to the next head's rows
  std::int64_t dim_stride;
  int dim;
  DType dtype;
  std::int64_t scales_at;  // bytes from a row to its scales, one float32 per kScaledDim features; 0: none

  ATTN_INLINE const std::byte* row(std::int64_t j) const {
    if (!pages) return base + j * row_bytes;
    // The table is read when the work runs, long after the call was checked: an entry that names no page must not reach foreign memory.
    std::int64_t page = pages[j / page_size];
    if (page < 0 || page >= num_pages) page = 0;
    return base + page * page_bytes + j % page_size * row_bytes;
  }
};

ATTN_INLINE KvRows kv_rows(const AttentionProblem& p, const SequenceSpan& s, const HeadRows& rows, std::int64_t start, int kv_head) {
  const std::int64_t size = bytes_of(rows.dtype);
  KvRows result;
  result.base = rows.data + ((s.pages ? 0 : start) + kv_head * rows.head_stride) * size;
  result.row_bytes = rows.row_stride * size;
  result.page_bytes = rows.sequence_stride * size;
  result.pages = s.pages;
  result.page_size = p.page_size;
  result.num_pages = p.num_pages;
  result.head_bytes = rows.head_stride * size;
  result.dim_stride = rows.dim_stride;
  result.dim = rows.dim;
  result.dtype = rows.dtype;
  result.scales_at = p.latent_scales && rows.dtype == DType::kFloat8E4M3 ? reinterpret_cast<const std::byte*>(p.latent_scales) - rows.data : 0;
  return result;
}

/// Features [d, d + kLanes) of a row of `dim`, zeros beyond its end.
template <class T>
ATTN_INLINE Vec load_features(const std::byte* row, std::int64_t d, std::int64_t dim, std::int64_t dim_stride) {
  const T* p = reinterpret_cast<const T*>(row) + d * dim_stride;
  if (dim_stride == 1 && d + kLanes <= dim) return load(p);
  return load_partial(p, dim - d, dim_stride);
}

/// The same of a row whose features may have scales.
template <class T>
ATTN_INLINE Vec load_scaled(const KvRows& rows, const std::byte* row, std::int64_t d) {
  const Vec v = load_features<T>(row, d, rows.dim, rows.dim_stride);
  if constexpr (kHasScales<T>) {
    if (rows.scales_at != 0) return v * reinterpret_cast<const float*>(row + rows.scales_at)[d / kScaledDim];
  }
  return v;
}

/// Width of a packed query row: one vector more than its features, since the last store of each part may run over.
ATTN_INLINE std::int64_t query_stride(const AttentionProblem& p) { return round_up(p.head_dim_qk, kLanes) + kLanes; }

/// Converts the tile's query rows [first, end) to float32, the parts side by side: queries[num_rows, query_stride].
ATTN_INLINE void pack_queries(const AttentionTile& t, int first, int end, float* queries) {
  const AttentionProblem& p = *t.problem;
  std::int64_t offset = 0;
  for (int part = 0; part < p.num_parts; ++part) {
    const HeadRows& q = p.q[part];
    with_operand_dtype(q.dtype, [&](auto* typed) {
      using T = ElementOf<decltype(typed)>;
      const std::int64_t stride = query_stride(p), first_head = t.kv_head * static_cast<std::int64_t>(p.group_size);
      const bool whole = q.dim_stride == 1 && q.dim % kLanes == 0;
      std::int64_t query = (t.row_begin + first) / p.group_size, member = (t.row_begin + first) % p.group_size;
      float* dst = queries + first * stride + offset;
      for (int r = first; r < end; ++r, dst += stride) {
        const std::byte* src = q.data + (t.sequence->q_start[part] + query * q.row_stride + (first_head + member) * q.head_stride) * bytes_of(q.dtype);
        if (whole) {
          for (std::int64_t d = 0; d < q.dim; d += kLanes) store(dst + d, load(reinterpret_cast<const T*>(src) + d));
        } else {
          for (std::int64_t d = 0; d < q.dim; d += kLanes) store(dst + d, load_features<T>(src, d, q.dim, q.dim_stride));
        }
        if (++member < p.group_size) continue;
        member = 0;
        ++query;
      }
    });
    offset += q.dim;
  }
}

/// The keys that rows [row_begin, row_begin + num_rows) see at all, within the tile's own range.
ATTN_INLINE KeyRange tile_keys(const AttentionTile& t) {
  const AttentionProblem& p = *t.problem;
  const KeyRange first = visible_keys(p, *t.sequence, t.row_begin / p.group_size);
  const KeyRange last = visible_keys(p, *t.sequence, (t.row_begin + t.num_rows - 1) / p.group_size);
  return {max_of(first.begin, t.kv_begin), min_of(last.end, t.kv_end)};
}

/// Where the keys end that row r sees; never falls from row to row.
ATTN_INLINE std::int64_t keys_end(const AttentionTile& t, int r) {
  return min_of(visible_keys(*t.problem, *t.sequence, (t.row_begin + r) / t.problem->group_size).end, t.kv_end);
}

/// The part of a tile that is its kv head number h.
ATTN_INLINE AttentionTile tile_of_head(const AttentionTile& t, int h) {
  AttentionTile head = t;
  head.kv_head += h;
  head.num_kv_heads = 1;
  head.accumulator += h * t.state_stride;
  head.max += h * t.state_stride;
  head.sum += h * t.state_stride;
  return head;
}

/// Where the tile's outputs are its own to write, from the final states of all its rows.
ATTN_INLINE void finish_heads(const AttentionTile& t) {
  for (int h = 0; t.write_row && h < t.num_kv_heads; ++h) write_outputs(tile_of_head(t, h), 0, t.num_rows);
}

/// Nothing seen yet.
ATTN_INLINE void clear_sums(const AttentionTile& t) {
  for (int r = 0; r < t.num_rows; ++r) {
    t.max[r] = -__builtin_inff();
    t.sum[r] = 0;
  }
}

ATTN_INLINE void clear_accumulator(const AttentionTile& t) {
  const std::int64_t floats = t.num_rows * accumulator_stride(*t.problem);
  for (std::int64_t i = 0; i < floats; i += kLanes) store(t.accumulator + i, Vec{});
}

/// An empty state.
ATTN_INLINE void clear_state(const AttentionTile& t) {
  clear_sums(t);
  clear_accumulator(t);
}

}  // namespace attn::cpu::ATTN_ISA
