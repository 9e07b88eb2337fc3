#pragma once

#include <cstdint>
#include <optional>

#include "core/tensor.h"

namespace attn {

/// y = x / sqrt(mean(x²) + eps) · weight along the last axis; one row per index of the outer axes.
/// Source: Zhang and Sennrich, "Root mean square layer normalization", 2019.
struct RmsNormProblem {
  TensorView x, y;    // any strides on the outer axes, last axis stride 1; y may be x itself
  TensorView weight;  // [width], stride 1
  std::int64_t rows = 0, width = 0;
  float eps = 0;

  WorkSize work_size() const { return elementwise_size(x, y, 8); }
};

/// x [.., width], weight [width] -> [.., width] in x's dtype. `out` may be x itself.
Tensor rms_norm(const Tensor& x, const Tensor& weight, float eps, const std::optional<Tensor>& out);

}  // namespace attn
