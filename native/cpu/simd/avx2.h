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

ATTN_INLINE Vec load(const Half* p) { return (Vec)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(p))); }
ATTN_INLINE void store(Half* p, Vec v) {
  _mm_storeu_si128(reinterpret_cast<__m128i_u*>(p), _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

}  // namespace attn::cpu::ATTN_ISA

#include "cpu/simd/vec_math.h"
#include "cpu/simd/vec_rows.h"
