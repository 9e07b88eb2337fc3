#pragma once
// What the schedule (linear_bf16.cpp, compiled once) asks of the compute code (linear_tile_bf16.cpp, compiled per instruction set with
// products of bfloat16).

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "cpu/isa.h"

namespace attn::cpu {

/// Rows of x that are packed together: one panel.
inline constexpr std::int64_t kLinearPanelRows = 16;
/// Features of y per task: their weights are an operand for all rows of x.
inline constexpr std::int64_t kLinearFeatures = 64;
/// Features of x per product: what the sums leave the registers for.
inline constexpr std::int64_t kLinearDepth = 512;

/// yᵀ[cols, rows] = weight[cols, depth] · xᵀ (+ bias[cols]), cols at most kLinearFeatures. Strides in elements, last axes dense.
struct LinearColumns {
  const std::byte* x;  // packed: [rows / 16, depth / 2, 16 pairs]
  std::int64_t rows;
  const std::byte* weight;
  std::int64_t weight_stride;
  std::int64_t cols;
  std::int64_t depth;     // a multiple of 32
  const std::byte* bias;  // may be null
  DType bias_dtype;
  std::byte* y;
  DType y_dtype;
  std::int64_t y_stride;
  std::byte* scratch;  // this thread's, 64-byte aligned: linear_columns_scratch
};

/// Sums [kLinearFeatures, rows], and one block of weights; rows of both are apart by no power of two.
constexpr std::int64_t linear_sums_stride(std::int64_t rows) { return (rows + kLinearPanelRows - 1) / kLinearPanelRows * kLinearPanelRows + 16; }
inline constexpr std::int64_t kLinearWeightStride = kLinearDepth + 32;
constexpr std::size_t linear_columns_scratch(std::int64_t rows) {
  return static_cast<std::size_t>(kLinearFeatures * (linear_sums_stride(rows) * 4 + kLinearWeightStride * 2));
}

/// Compiled per instruction set. The order of summation depends on depth only.
struct LinearBf16Table {
  /// One panel: rows [0, rows) of x, at most 16, as depth / 2 rows of 16 pairs; zeros for what is missing of 16.
  void (*pack)(const std::byte* x, std::int64_t x_stride, std::int64_t rows, std::int64_t depth, std::byte* panel);
  void (*multiply)(const LinearColumns& columns);
};

#define ATTN_DECLARE(isa)                        \
  namespace isa {                                \
  extern const LinearBf16Table kLinearBf16Table; \
  }
ATTN_FOR_EACH_BF16_ISA(ATTN_DECLARE)
#undef ATTN_DECLARE

}  // namespace attn::cpu
