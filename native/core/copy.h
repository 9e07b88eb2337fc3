#pragma once

#include "core/tensor.h"

namespace attn {

/// dst = src element by element, converting; both of the same shape, any strides.
struct CopyProblem {
  TensorView src, dst;
  bool fresh = false;  // dst is packed memory of the host that probably nobody has touched yet: its pages are not there

  WorkSize work_size() const { return elementwise_size(src, dst, 1); }
};

/// Any pair of dtypes: float types round once, to nearest even; to int32 cuts toward zero and saturates, NaN gives 0.
void copy_tensor(const Tensor& src, const Tensor& dst, bool fresh = false);

}  // namespace attn
