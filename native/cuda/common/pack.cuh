#pragma once
// Several elements at once: one access of 16 bytes, one register of two halves.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace attn::cuda {

/// kCount elements that one aligned access of at most 16 bytes moves.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T items[kCount];
};

/// Two floats, each rounded once, as 16-bit elements of one register; `low` at the lower address. The first argument chooses the type.
__device__ inline std::uint32_t pack_pair(__half, float low, float high) {
  std::uint32_t result;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}
__device__ inline std::uint32_t pack_pair(__nv_bfloat16, float low, float high) {
  std::uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}

}  // namespace attn::cuda
