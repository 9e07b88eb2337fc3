#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "cuda/common/strided.h"

namespace attn::cuda {

struct RmsNormParams {
  const void* x;  // rows of `width` dense elements; y may be x itself
  void* y;
  const void* weight;  // [width]
  StridedAxes outer;   // of the rows, in elements: src is x, dst is y
  std::int64_t rows, width;
  float eps;
  DType weight_dtype;
};

inline constexpr int kRmsNormThreads = 256;
inline constexpr std::int64_t kWarpWidth = 1024;  // up to here a warp does a row, beyond it a block

}  // namespace attn::cuda
