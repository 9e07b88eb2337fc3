#pragma once
// exp and tanh on vectors, within 2 units in the last place, and 2^x, within 3. The polynomials are minimax fits of this project (weighted
// least squares on Chebyshev nodes, reweighted until the relative error is level).

#include "cpu/simd/vec.h"

namespace attn::cpu::ATTN_ISA {

/// e^x. NaN stays NaN, above 88.722 infinity, below -87.336 (the smallest normal number) 0.
ATTN_INLINE Vec exp(Vec x) {
  constexpr float kRound = 0x1.8p23f;  // adding and taking it away rounds to an integer
  const Vec shifted = x * 1.44269504f + kRound;
  const Vec n = shifted - kRound;
  // x - n·ln 2 with ln 2 in two parts, the first short enough for an exact product.
  Vec r = x - n * 0x1.62e4p-1f;
  r = r - n * 1.4286068e-06f;
  Vec q = r * 0.0013814466f + 0.008368781f;
  q = q * r + 0.041668393f;
  q = q * r + 0.1666652f;
  q = q * r + 0.49999994f;
  const Vec p = q * (r * r) + r + 1.0f;
  const Vec scaled = vec_of(bits_of(p) + (bits_of(shifted) << 23));  // the low bits of `shifted` are n
  Vec result = x < -87.33654f ? Vec{} : scaled;
  result = x > 88.72283f ? broadcast(__builtin_inff()) : result;
  return x == x ? result : x;
}

ATTN_INLINE float exp(float x) { return exp(broadcast(x))[0]; }

/// 2^y for y up to 127, within 2 units in the last place; 2^0 is 1. NaN stays NaN, below -126 (the smallest normal number) 0.
ATTN_INLINE Vec power_of_two(Vec y) {
#ifdef __AVX512F__
  // y = n + r with r in [0, 1]; for infinities r is 0.
  const Vec r = (Vec)_mm512_maskz_reduce_ps(0xffff, (__m512)y, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  Vec p = r * 0.0018852975f + 0.008973379f;
  p = p * r + 0.05583592f;
  p = p * r + 0.24015279f;
  p = p * r + 0.6931525f;
  p = p * r + 1.0f;
  // Scales by 2^n, n taken from y, and lets NaN pass. Subnormal numbers, which would be dear in products to come, are left out.
  return (Vec)_mm512_maskz_scalef_ps(_mm512_cmp_ps_mask((__m512)y, (__m512)broadcast(-126.0f), _CMP_NLT_UQ), (__m512)p, (__m512)y);
#else
  // y = n + r with r in [-1/2, 1/2]: without fused products the shorter polynomial would be off by more than 2 units.
  constexpr float kRound = 0x1.8p23f;
  const Vec shifted = y + kRound;
  const Vec r = y - (shifted - kRound);
  Vec p = r * 0.00015353362f + 0.0013398875f;
  p = p * r + 0.009618437f;
  p = p * r + 0.055503324f;
  p = p * r + 0.24022648f;
  p = p * r + 0.6931472f;
  p = p * r + 1.0f;
  const Vec scaled = vec_of(bits_of(p) + (bits_of(shifted) << 23));  // the low bits of `shifted` are n
  const Vec result = y < -126.0f ? Vec{} : scaled;
  return y == y ? result : y;
#endif
}

/// tanh x. NaN stays NaN.
ATTN_INLINE Vec tanh(Vec x) {
  const Vec magnitude = vec_of(bits_of(x) & 0x7fffffffu);
  const BitVec sign = bits_of(x) & 0x80000000u;
  const Vec u = x * x;
  Vec q = u * -0.005704985f + 0.020639084f;
  q = q * u - 0.053739715f;
  q = q * u + 0.13331442f;
  q = q * u - 0.3333328f;
  const Vec small = x + x * u * q;
  const Vec decay = exp(magnitude * -2.0f);
  const Vec large = vec_of(bits_of((1.0f - decay) / (1.0f + decay)) | sign);
  return magnitude < 0.625f ? small : large;
}

}  // namespace attn::cpu::ATTN_ISA
