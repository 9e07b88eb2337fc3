#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace attn {

/// Standard normal numbers: element i (row-major) depends on (seed, i) only; see core/random.h.
struct RandnProblem {
  TensorView out;
  std::uint64_t seed = 0;
};

/// Fills `out` (any float dtype, any strides), each number rounded once.
void randn(const Tensor& out, std::uint64_t seed);

}  // namespace attn
