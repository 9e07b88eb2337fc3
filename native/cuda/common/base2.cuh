#pragma once
// Kernels count logits in base 2; what they share about that, and about numbers that are not finite.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace attn::cuda {

constexpr float kLog2e = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

/// PTX ISA 9.7.3.21 ex2. Exact at 0 and ±inf, else within 2 units in the last place: far below the rounding of a probability.
__device__ inline float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// The exponent's bits in the lower half of a register.
template <class T>
constexpr unsigned kExponentBits = 0;
template <>
constexpr unsigned kExponentBits<__half> = 0x7c00;
template <>
constexpr unsigned kExponentBits<__nv_bfloat16> = 0x7f80;

}  // namespace attn::cuda
