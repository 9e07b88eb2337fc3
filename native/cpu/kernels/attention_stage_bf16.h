#pragma once
// Keys and values in float8_e4m3 for the products of bfloat16: a block's rows become bfloat16 once, and everything after reads these. Elements are
// exact; a latent, whose groups have scales, is rounded. Source of the idea, to widen a block and not the product's operands: FlashMLA.

#include "cpu/kernels/attention_kv_bf16.h"

namespace attn::cpu::ATTN_ISA {

ATTN_INLINE bool is_float8(const HeadRows& rows) { return rows.dtype == DType::kFloat8E4M3; }

/// Elements of a staged row: the parts side by side, so that a row of MLA is one operand.
ATTN_INLINE std::int64_t staged_key_width(const AttentionProblem& p) { return part_depth(p.k[0].dim) + (p.num_parts == 2 ? part_depth(p.k[1].dim) : 0); }
ATTN_INLINE std::int64_t staged_value_width(const AttentionProblem& p) { return p.v_in_k ? 0 : part_depth(p.v.dim); }
/// For so many keys; none where there is nothing to stage.
ATTN_INLINE std::int64_t staged_elements(const AttentionProblem& p, std::int64_t keys) {
  return is_float8(p.k[0]) ? keys * (staged_key_width(p) + staged_value_width(p)) : 0;
}

/// Rows of bfloat16 whose row `first` is at `memory`.
ATTN_INLINE KvRows staged_rows(const BFloat* memory, std::int64_t first, std::int64_t width, int dim) {
  KvRows rows{};
  rows.row_bytes = width * 2;
  rows.base = reinterpret_cast<const std::byte*>(memory) - first * rows.row_bytes;
  rows.dim_stride = 1;
  rows.dim = dim;
  rows.dtype = DType::kBFloat16;
  return rows;
}

/// The rows [first + lo, first + hi) at to + lo · width, …: `rows` are of float8_e4m3 or bfloat16.
ATTN_INLINE void stage_rows(const KvRows& rows, std::int64_t first, std::int64_t lo, std::int64_t hi, BFloat* to, std::int64_t width) {
  for (std::int64_t j = lo; j < hi; ++j) {
    const std::byte* row = rows.row(first + j);
    BFloat* out = to + j * width;
    if (rows.dtype != DType::kFloat8E4M3) {
      for (std::int64_t d = 0; d < rows.dim; d += kDepthStep)
        store_elements(out + d, load_elements(elements(row) + d * rows.dim_stride, rows.dim - d, rows.dim_stride));
      continue;
    }
    const Float8* codes = reinterpret_cast<const Float8*>(row);
    for (std::int64_t d = 0; d < rows.dim; d += kDepthStep) {
      BitVec v = load_elements(codes + d * rows.dim_stride, rows.dim - d, rows.dim_stride);
      if (rows.scales_at != 0) {
        const float scale = reinterpret_cast<const float*>(row + rows.scales_at)[d / kScaledDim];
        Vec pair[2];
        deal(v, pair);
        v = interleave_halves(narrow(pair[0] * scale, pair[1] * scale));
      }
      store_elements(out + d, v);
    }
  }
}

}  // namespace attn::cpu::ATTN_ISA
