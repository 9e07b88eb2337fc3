#pragma once
// AVX-512 F, BW, DQ, VL: 32 registers of 16 lanes.

#include <immintrin.h>

namespace attn::cpu::ATTN_ISA {
inline constexpr int kLanes = 16;
inline constexpr int kGemmRows = 12;  // 12 x 32: 24 accumulators, 2 of B, A broadcast from memory
inline constexpr int kGemmVecs = 2;
}  // namespace attn::cpu::ATTN_ISA

#include "cpu/simd/vec.h"

namespace attn::cpu::ATTN_ISA {

// The zero-masked forms: the plain ones start from an undefined register, which GCC warns about.
ATTN_INLINE __m256i load_bits(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i_u*>(p)); }
ATTN_INLINE void store_bits(void* p, __m256i bits) { _mm256_storeu_si256(static_cast<__m256i_u*>(p), bits); }

ATTN_INLINE Vec widen_halves(ShortVec halves) { return (Vec)_mm512_maskz_cvtph_ps(0xffff, (__m256i)halves); }
ATTN_INLINE Vec load(const Half* p) { return widen_halves((ShortVec)load_bits(p)); }
ATTN_INLINE void store(Half* p, Vec v) { store_bits(p, _mm512_maskz_cvtps_ph(0xffff, (__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }

ATTN_INLINE Vec load(const BFloat* p) { return (Vec)_mm512_maskz_slli_epi32(0xffff, _mm512_maskz_cvtepu16_epi32(0xffff, load_bits(p)), 16); }
ATTN_INLINE void store(BFloat* p, Vec v) { store_bits(p, _mm512_maskz_cvtepi32_epi16(0xffff, (__m512i)bfloat_bits(v))); }

}  // namespace attn::cpu::ATTN_ISA

#include "cpu/simd/vec_math.h"
#include "cpu/simd/vec_rows.h"
