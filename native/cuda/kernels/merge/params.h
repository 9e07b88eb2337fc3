#pragma once
// The parameter of the merge kernel; shared by host and device.

#include <cstdint>

#include "core/dtype.h"

namespace attn::cuda {

/// One state; strides in elements. Features are adjacent.
struct MergeState {
  void* out;                    // [batch, len, heads, dim]
  std::int64_t out_strides[3];  // batch, len, heads
  float* lse;
  std::int64_t lse_strides[3];  // batch, heads, len
};

struct MergeParams {
  const MergeState* states;  // workspace
  std::int64_t num_states;
  MergeState result;
  std::int64_t rows, len, heads, dim;  // rows: batch · len · heads
  DType dtype;
};

}  // namespace attn::cuda
