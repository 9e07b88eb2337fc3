#pragma once
// Rows of bfloat16 queries, keys and values as operands of Bf16Product. Parts lie side by side, each filled up to whole steps
// of the depth with zeros.

#include "cpu/kernels/attention_kv.h"
#include "cpu/simd/bf16_product.h"

namespace attn::cpu::ATTN_ISA {

ATTN_INLINE std::int64_t part_depth(std::int64_t dim) { return round_up(dim, kDepthStep); }
ATTN_INLINE std::int64_t query_depth(const AttentionProblem& p) { return part_depth(p.q[0].dim) + (p.num_parts == 2 ? part_depth(p.q[1].dim) : 0); }
/// Features of the accumulator, and of packed values.
ATTN_INLINE std::int64_t value_cols(const AttentionProblem& p) { return round_up(p.head_dim_vo, kPanelCols); }

ATTN_INLINE const std::byte* query_row(const AttentionTile& t, int part, int r) {
  const HeadRows& q = t.problem->q[part];
  const std::int64_t group = t.problem->group_size, row = t.row_begin + r, head = t.kv_head * group + row % group;
  return q.data + (t.sequence->q_start[part] + row / group * q.row_stride + head * q.head_stride) * bytes_of(q.dtype);
}

/// kDepthStep features of a row from feature d on, zeros beyond the last. Those of float8_e4m3 are exact in bfloat16.
ATTN_INLINE BitVec query_elements(const HeadRows& q, const std::byte* row, std::int64_t d) {
  if (q.dtype == DType::kFloat8E4M3) return load_elements(reinterpret_cast<const Float8*>(row) + d * q.dim_stride, q.dim - d, q.dim_stride);
  return load_elements(reinterpret_cast<const BFloat*>(row) + d * q.dim_stride, q.dim - d, q.dim_stride);
}

/// queries[num_rows, query_depth], row-major.
ATTN_INLINE void copy_queries(const AttentionTile& t, BFloat* queries) {
  const std::int64_t depth = query_depth(*t.problem);
  for (int r = 0; r < t.num_rows; ++r) {
    BFloat* to = queries + r * depth;
    for (int part = 0; part < t.problem->num_parts; ++part) {
      const HeadRows& q = t.problem->q[part];
      const std::byte* from = query_row(t, part, r);
      for (std::int64_t d = 0; d < q.dim; d += kDepthStep, to += kDepthStep) store_elements(to, query_elements(q, from, d));
    }
  }
}

/// The same as panels of 16 rows, zeros beyond the last: queries[rows / 16, depth / 2, 16 pairs].
ATTN_INLINE void pack_queries(const AttentionTile& t, BFloat* queries) {
  for (int first = 0; first < t.num_rows; first += kPanelCols) {
    for (int part = 0; part < t.problem->num_parts; ++part) {
      const HeadRows& q = t.problem->q[part];
      const std::byte* row[kPanelCols];
      const int count = static_cast<int>(min_of(kPanelCols, t.num_rows - first));
      for (int i = 0; i < count; ++i) row[i] = query_row(t, part, first + i);
      for (std::int64_t d = 0; d < q.dim; d += kDepthStep, queries += kPanelCols * kDepthStep) {
        BitVec v[kPanelCols] = {};
        for (int i = 0; i < count; ++i) v[i] = query_elements(q, row[i], d);
        transpose_pairs(v);
        for (int i = 0; i < kPanelCols; ++i) store_elements(queries + i * kDepthStep, v[i]);
      }
    }
  }
}

ATTN_INLINE const BFloat* elements(const std::byte* row) { return reinterpret_cast<const BFloat*>(row); }

/// Keys [lo, hi) of the block at `first`, panels of 16 keys: keys[block / 16, depth / 2, 16 pairs], from feature `offset` on. Lanes
/// beyond repeat a valid row: they are masked later, and no other row may be read.
ATTN_INLINE void pack_keys(const KvRows& rows, std::int64_t first, std::int64_t lo, std::int64_t hi, std::int64_t depth, std::int64_t offset, BFloat* keys) {
  for (std::int64_t c = lo / kPanelCols * kPanelCols; c < hi; c += kPanelCols) {
    const BFloat* row[kPanelCols];
    for (int i = 0; i < kPanelCols; ++i) row[i] = elements(rows.row(first + min_of(max_of(c + i, lo), hi - 1)));
    BFloat* panel = keys + c * depth + offset * kPanelCols;
    for (std::int64_t d = 0; d < rows.dim; d += kDepthStep) {
      BitVec v[kPanelCols];
#pragma GCC unroll 16
      for (int i = 0; i < kPanelCols; ++i) v[i] = load_elements(row[i] + d * rows.dim_stride, rows.dim - d, rows.dim_stride);
      transpose_pairs(v);
#pragma GCC unroll 16
      for (int i = 0; i < kPanelCols; ++i) store_elements(panel + d * kPanelCols + i * kDepthStep, v[i]);
    }
  }
}

/// Values [lo, hi) of the block at `first`, zeros up to whole steps: values[value_cols / 16, block / 2, 16 pairs]. Of each 32 features the
/// even ones make a panel and the odd ones the next, which put_in_turn() undoes in the sums; the rest of a row keeps its order. Returns
/// whether a value is not finite, which only `look` asks for.
ATTN_INLINE bool pack_values(const KvRows& rows, std::int64_t first, std::int64_t lo, std::int64_t hi, std::int64_t dim, std::int64_t panel_stride,
                             BFloat* values, bool look) {
  bool poison = false;
  for (std::int64_t j = lo / kDepthStep * kDepthStep; j < round_up(hi, kDepthStep); j += 2) {
    const BFloat* row[2];
    bool there[2];
    for (int i = 0; i < 2; ++i) {
      there[i] = j + i >= lo && j + i < hi;
      row[i] = there[i] ? elements(rows.row(first + j + i)) : nullptr;
    }
    BFloat* to = values + j * kPanelCols;
    for (std::int64_t d = 0; d < dim; d += kDepthStep, to += 2 * panel_stride) {
      const BitVec a = there[0] ? load_elements(row[0] + d * rows.dim_stride, dim - d, rows.dim_stride) : BitVec{};
      const BitVec b = there[1] ? load_elements(row[1] + d * rows.dim_stride, dim - d, rows.dim_stride) : BitVec{};
      if (look) poison = poison || any_not_finite(a) || any_not_finite(b);
      BitVec even, odd;
      pair_rows(a, b, even, odd);
      if (d + kDepthStep <= dim) {
        store_elements(to, even);
        store_elements(to + panel_stride, odd);
      } else {
        store_elements(to, in_turn(even, odd, false));
        if (d + kPanelCols < dim) store_elements(to + panel_stride, in_turn(even, odd, true));
      }
    }
  }
  return poison;
}

/// The same of kDepthStep keys and `kFeatures` of their features, all there and adjacent. Calls beside() now and then.
template <int kFeatures, class Beside>
ATTN_INLINE void pack_whole_values(const KvRows& rows, std::int64_t first, std::int64_t panel_stride, BFloat* values, Beside&& beside) {
  for (std::int64_t j = 0; j < kDepthStep; j += 2, values += 2 * kPanelCols) {
    const BFloat *upper = elements(rows.row(first + j)), *lower = elements(rows.row(first + j + 1));
#pragma GCC unroll 4
    for (std::int64_t d = 0; d < kFeatures; d += kDepthStep) {
      BitVec even, odd;
      pair_rows(load_elements(upper + d), load_elements(lower + d), even, odd);
      store_elements(values + d / kPanelCols * panel_stride, even);
      store_elements(values + (d / kPanelCols + 1) * panel_stride, odd);
    }
    beside();
  }
}

/// A row's accumulator with its features in their own order.
ATTN_INLINE void put_in_turn(float* row, std::int64_t dim) {
  for (std::int64_t d = 0; d < dim / kDepthStep * kDepthStep; d += kDepthStep) {
    const Vec even = load(row + d), odd = load(row + d + kLanes);
    store(row + d, interleave_low(even, odd));
    store(row + d + kLanes, interleave_high(even, odd));
  }
}

/// Values with zeros for all but the keys [lo, hi) of [begin, end), multiples of kDepthStep: of no use to masked probabilities, which are 0,
/// unless a value is not finite.
ATTN_INLINE void keep_visible(const BFloat* values, std::int64_t lo, std::int64_t hi, std::int64_t begin, std::int64_t end, std::int64_t cols,
                              std::int64_t panel_stride, BFloat* kept) {
  for (std::int64_t d = 0; d < cols; d += kPanelCols, values += panel_stride, kept += panel_stride) {
    for (std::int64_t j = begin; j < end; j += 2) {
      const std::uint32_t mask = (j >= lo && j < hi ? 0xffffu : 0) | (j + 1 >= lo && j + 1 < hi ? 0xffff0000u : 0);
      store_elements(kept + j * kPanelCols, load_elements(values + j * kPanelCols) & mask);
    }
  }
}

}  // namespace attn::cpu::ATTN_ISA
