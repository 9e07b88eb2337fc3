#pragma once
// AArch64: 32 registers of 4 lanes, fused multiply-adds, and conversions of float16 that round as the others do.

#include <arm_neon.h>

namespace attn::cpu::ATTN_ISA {
inline constexpr int kLanes = 4;
inline constexpr int kGemmRows = 12;  // 12 x 8: 24 accumulators, 2 of B, 1 of A
inline constexpr int kGemmVecs = 2;
}  // namespace attn::cpu::ATTN_ISA

#include "cpu/simd/vec.h"

namespace attn::cpu::ATTN_ISA {

// Through memcpy: rows need no alignment, and the types of the pointers differ.
ATTN_INLINE uint16x4_t load_bits(const void* p) {
  uint16x4_t v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
ATTN_INLINE void store_bits(void* p, uint16x4_t bits) { __builtin_memcpy(p, &bits, sizeof bits); }

ATTN_INLINE Vec widen_halves(ShortVec halves) { return (Vec)vcvt_f32_f16(vreinterpret_f16_u16((uint16x4_t)halves)); }
ATTN_INLINE Vec load(const Half* p) { return widen_halves((ShortVec)load_bits(p)); }
ATTN_INLINE void store(Half* p, Vec v) { store_bits(p, vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)v))); }

ATTN_INLINE Vec load(const BFloat* p) { return (Vec)vshll_n_u16(load_bits(p), 16); }
ATTN_INLINE void store(BFloat* p, Vec v) { store_bits(p, vmovn_u32((uint32x4_t)bfloat_bits(v))); }

}  // namespace attn::cpu::ATTN_ISA

#include "cpu/simd/vec_math.h"
#include "cpu/simd/vec_rows.h"
