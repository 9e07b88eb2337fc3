#pragma once
// 16-bit loads and stores by plain integer arithmetic, for instruction sets without conversions of their own.
// The same bits as core/convert.h and as the F16C instructions: round to nearest even, NaN stays NaN and becomes quiet.

#include "cpu/simd/vec.h"

namespace attn::cpu::ATTN_ISA {

ATTN_INLINE BitVec load_bits(const void* p) {
  ShortVec v;
  __builtin_memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, BitVec);
}
ATTN_INLINE void store_bits(void* p, BitVec bits) {
  const ShortVec v = __builtin_convertvector(bits, ShortVec);
  __builtin_memcpy(p, &v, sizeof v);
}

ATTN_INLINE Vec load(const BFloat* p) { return vec_of(load_bits(p) << 16); }
ATTN_INLINE void store(BFloat* p, Vec v) { store_bits(p, bfloat_bits(v)); }

ATTN_INLINE Vec widen_halves(ShortVec halves) {
  const BitVec half = __builtin_convertvector(halves, BitVec);
  const BitVec sign = (half & 0x8000u) << 16;
  const BitVec shifted = (half & 0x7fffu) << 13;
  // Moving the exponent by a multiplication makes subnormals exact as well.
  const BitVec finite = bits_of(vec_of(shifted) * 0x1p112f);
  const BitVec quiet = (half & 0x3ffu) != 0u ? broadcast(0x400000u) : BitVec{};
  const BitVec special = shifted | 0x7f800000u | quiet;
  return vec_of(sign | ((half & 0x7c00u) == 0x7c00u ? special : finite));
}
ATTN_INLINE Vec load(const Half* p) {
  ShortVec halves;
  __builtin_memcpy(&halves, p, sizeof halves);
  return widen_halves(halves);
}

ATTN_INLINE void store(Half* p, Vec v) {
  const BitVec bits = bits_of(v);
  const BitVec sign = (bits >> 16) & 0x8000u;
  const BitVec magnitude = bits & 0x7fffffffu;
  BitVec half = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  // Below 2^-14, adding 0.5 leaves the rounded multiple of 2^-24 in the low mantissa bits.
  half = magnitude < 0x38800000u ? bits_of(vec_of(magnitude) + 0.5f) - 0x3f000000u : half;
  half = magnitude >= 0x477ff000u ? broadcast(0x7c00u) : half;  // 65520 and above round to infinity
  half = magnitude > 0x7f800000u ? (0x7e00u | ((magnitude >> 13) & 0x3ffu)) : half;
  store_bits(p, sign | half);
}

}  // namespace attn::cpu::ATTN_ISA
