#pragma once
// Reductions over the 32 lanes of a warp, in one fixed order: the same bits in every lane and in every run.

namespace attn::cuda {

inline constexpr unsigned kFullWarp = 0xffffffffu;

/// A NaN loses, as it does in fmaxf.
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kFullWarp, x, offset));
  return x;
}

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kFullWarp, x, offset);
  return x;
}

}  // namespace attn::cuda
