#pragma once

#include "core/tensor.h"

namespace attn {

/// dst = src element by element, converting; both of the same shape, any strides.
struct CopyProblem {
  TensorView src, dst;

  WorkSize work_size() const { return elementwise_size(src, dst, 1); }
};

/// Any pair of dtypes: float types round once, to nearest even; to int32 cuts toward zero and saturates, NaN gives 0.
void copy_tensor(const Tensor& src, const Tensor& dst);

}  // namespace attn
