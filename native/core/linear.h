#pragma once

#include <cstdint>
#include <optional>

#include "core/tensor.h"

namespace attn {

/// y[b, r, :] = x[b, r, :] · weight[b]ᵀ (+ bias), accumulated in float32. Plain linear has batch 1; the per-head
/// projections of MLA use one batch per head.
struct LinearProblem {
  std::int64_t batch = 1, rows = 0;
  std::int64_t in_features = 0, out_features = 0;
  struct Matrix {
    std::byte* data = nullptr;
    DType dtype = DType::kFloat32;
    std::int64_t batch_stride = 0, row_stride = 0;  // elements; the last axis has stride 1
  } x, weight, y;                                   // weight: [out_features, in_features] per batch
  const std::byte* bias = nullptr;                  // [out_features] or null
  DType bias_dtype = DType::kFloat32;

  WorkSize work_size() const {
    const double in = static_cast<double>(batch * in_features), out = static_cast<double>(out_features), all_rows = static_cast<double>(rows);
    return {2 * all_rows * in * out, in * (out * static_cast<double>(dtype_size(weight.dtype)) + all_rows * static_cast<double>(dtype_size(x.dtype)))};
  }
};

/// x [.., in] · weight [out, in] (+ bias [out]) -> [.., out] in x's dtype. Compute dtypes in any mix.
Tensor linear(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, const std::optional<Tensor>& out);

/// x [rows, heads, in] · weight [heads, out, in] -> [rows, heads, out] in x's dtype.
Tensor linear_per_head(const Tensor& x, const Tensor& weight);

}  // namespace attn
