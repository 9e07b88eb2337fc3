#pragma once

#include <cstdint>

#include "cuda/common/strided.h"

namespace attn::cuda {

struct StridedOffsets {
  std::int64_t src, dst;
};

template <class Index>
__device__ inline StridedOffsets strided_offsets_as(const StridedAxes& axes, Index index) {
  StridedOffsets at = {0, 0};
#pragma unroll 1
  for (int i = axes.count - 1; i > 0; --i) {
    const Index extent = static_cast<Index>(axes.extents[i]);
    const std::int64_t within = static_cast<std::int64_t>(index % extent);
    index /= extent;
    at.src += within * axes.src_strides[i];
    at.dst += within * axes.dst_strides[i];
  }
  at.src += static_cast<std::int64_t>(index) * axes.src_strides[0];
  at.dst += static_cast<std::int64_t>(index) * axes.dst_strides[0];
  return at;
}

/// Offsets of unit `index` of `count`, counted along the axes. A 64-bit division costs about ten 32-bit ones.
__device__ inline StridedOffsets strided_offsets(const StridedAxes& axes, std::int64_t index, std::int64_t count) {
  return count <= 0x7fffffff ? strided_offsets_as(axes, static_cast<std::uint32_t>(index)) : strided_offsets_as(axes, static_cast<std::uint64_t>(index));
}

}  // namespace attn::cuda
