#pragma once
// What the schedule (linear.cpp, compiled once) asks of the compute code (linear_tile.cpp, compiled per instruction set).

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "cpu/isa.h"

namespace attn::cpu {

/// y[rows, cols] = x[rows, depth] · weight[cols, depth]ᵀ (+ bias[cols]). Strides in elements, last axes dense.
struct LinearTile {
  const float* x;
  std::int64_t x_stride;
  std::int64_t rows;
  const std::byte* weight;
  DType weight_dtype;
  std::int64_t weight_stride;
  std::int64_t cols;
  std::int64_t depth;
  const std::byte* bias;  // may be null
  DType bias_dtype;
  std::byte* y;
  DType y_dtype;
  std::int64_t y_stride;
  float* scratch;  // this thread's, 64-byte aligned: linear_scratch_floats
};

inline constexpr int kLinearPanelDepth = 512;  // features of x per panel, at most: 512 x 128 float32 stay in the L2 cache
inline constexpr int kLinearColAlign = 64;     // a multiple of every instruction set's panel width

/// c [rows, cols], and for packed tiles one panel of weights.
constexpr std::int64_t linear_scratch_floats(std::int64_t rows, std::int64_t cols, bool packed) {
  const std::int64_t width = (cols + kLinearColAlign - 1) / kLinearColAlign * kLinearColAlign;
  return width * (rows + (packed ? kLinearPanelDepth : 0));
}

/// Compiled per instruction set. The order of summation depends on depth only, so tiles may be cut in any way.
struct LinearTable {
  /// `count` dense elements of a compute dtype to float32.
  void (*to_float)(const std::byte* src, DType dtype, float* dst, std::int64_t count);
  /// Many rows: weights go through panels of float32.
  void (*multiply_packed)(const LinearTile& tile);
  /// A few rows: weights are read once, as they lie.
  void (*multiply_direct)(const LinearTile& tile);
};

#define ATTN_DECLARE(isa)                \
  namespace isa {                        \
  extern const LinearTable kLinearTable; \
  }
ATTN_FOR_EACH_ISA(ATTN_DECLARE)
#undef ATTN_DECLARE

}  // namespace attn::cpu
