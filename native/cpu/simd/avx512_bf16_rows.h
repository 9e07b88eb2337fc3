#pragma once
// What the kernels for bfloat16 need of AVX-512 beside products: pairs of vectors rounded to bfloat16.

#include "cpu/simd/bf16_product.h"

namespace attn::cpu::ATTN_ISA {

/// a, then b, rounded to nearest even.
ATTN_INLINE BitVec narrow(Vec a, Vec b) { return (BitVec)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a); }

}  // namespace attn::cpu::ATTN_ISA
