#pragma once
// AVX2 with FMA and F16C: 16 registers of 8 lanes.

#include <immintrin.h>

namespace attn::cpu::ATTN_ISA {
inline constexpr int kLanes = 8;
inline constexpr int kGemmRows = 6;  // 6 x 16: 12 accumulators, 2 of B, 1 of A
inline constexpr int kGemmVecs = 2;
}  // namespace attn::cpu::ATTN_ISA

#include "cpu/simd/vec.h"

namespace attn::cpu::ATTN_ISA {

// Intrinsics where the compiler's own widening and narrowing of 16-bit lanes takes several instructions.
ATTN_INLINE __m128i load_bits(const void* p) { return _mm_loadu_si128(static_cast<const __m128i_u*>(p)); }
ATTN_INLINE void store_bits(void* p, __m128i bits) { _mm_storeu_si128(static_cast<__m128i_u*>(p), bits); }

ATTN_INLINE Vec widen_halves(ShortVec halves) { return (Vec)_mm256_cvtph_ps((__m128i)halves); }
ATTN_INLINE Vec load(const Half* p) { return widen_halves((ShortVec)load_bits(p)); }
ATTN_INLINE void store(Half* p, Vec v) { store_bits(p, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }

ATTN_INLINE Vec load(const BFloat* p) { return (Vec)_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_bits(p)), 16); }
ATTN_INLINE void store(BFloat* p, Vec v) {
  const __m256i bits = (__m256i)bfloat_bits(v);
  store_bits(p, _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1)));
}

}  // namespace attn::cpu::ATTN_ISA

#include "cpu/simd/vec_math.h"
#include "cpu/simd/vec_rows.h"
