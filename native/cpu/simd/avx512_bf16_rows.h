#pragma once
// What the kernels for bfloat16 need of AVX-512 beside products: powers of two, and pairs of float32 rounded to bfloat16.

#include "cpu/simd/bf16_product.h"

namespace attn::cpu::ATTN_ISA {

/// 2^x within 3 units in the last place, 2^0 exactly; NaN stays NaN, -inf gives 0. x - floor(x), 0 for infinities, and the scaling by
/// 2^floor(x) are one instruction each. The polynomial is a minimax fit of this project, as those of vec_math.h.
ATTN_INLINE Vec exp2(Vec x) {
  const Vec f = (Vec)_mm512_maskz_reduce_ps(0xffff, (__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  Vec p = f * 0.00186713f + 0.009017031f;
  p = p * f + 0.05579991f;
  p = p * f + 0.24016444f;
  p = p * f + 0.6931513f;
  p = p * f + 1.0f;
  return (Vec)_mm512_maskz_scalef_ps(0xffff, (__m512)p, (__m512)x);
}

/// a, then b, rounded to nearest even.
ATTN_INLINE BitVec narrow(Vec a, Vec b) { return (BitVec)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a); }

}  // namespace attn::cpu::ATTN_ISA
