#pragma once
// The axes that two tensors of one shape are walked along together, for the host and the device.

#include <cstdint>

namespace attn::cuda {

/// In units of the copy: one or more elements. The last axis varies fastest.
struct StridedAxes {
  std::int32_t count;
  std::int64_t extents[8], src_strides[8], dst_strides[8];
};

}  // namespace attn::cuda
