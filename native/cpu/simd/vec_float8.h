#pragma once
// float8_e4m3 to and from vectors of float32, exact and as core/convert.h has it, but that stores saturate. Needs the
// conversions of halves of simd/<isa>.h or vec_half.h.

#include "cpu/simd/vec.h"

namespace attn::cpu::ATTN_ISA {

// Of two vectors.
typedef std::uint8_t BytePairVec __attribute__((vector_size(2 * kLanes)));
typedef std::uint16_t ShortPairVec __attribute__((vector_size(4 * kLanes)));

/// Moved into the fields of a half, the bits stand for a number 2^8 times as small, subnormal or not; only NaN (0x7f) needs another exponent.
template <class Shorts>
ATTN_INLINE Shorts half_bits_of(Shorts codes) {
  const Shorts magnitude = (codes & 0x7f) << 7;
  const Shorts nan = (magnitude + 0x80) & 0x4000;  // 0x7f alone carries so far
  return ((codes & 0x80) << 8) | magnitude | nan;
}

ATTN_INLINE Vec load(const Float8* p) {
  ByteVec codes;
  __builtin_memcpy(&codes, p, sizeof codes);
  return widen_halves(half_bits_of(__builtin_convertvector(codes, ShortVec))) * 0x1p8f;
}

#ifdef __AVX512BW__
/// 2 · kLanes elements as bfloat16, exact. But for the subnormal ones and NaN, which a table holds, bits move into their fields.
ATTN_INLINE BitVec bfloat_pairs(const Float8* p) {
  const __m512i table = _mm512_set_epi16(0x7fc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  //
                                         0x3c60, 0x3c40, 0x3c20, 0x3c00, 0x3bc0, 0x3b80, 0x3b00, 0);
  const __m512i codes = _mm512_maskz_cvtepu8_epi16(0xffffffffu, load_bits(p));
  const __m512i magnitude = _mm512_and_si512(codes, _mm512_set1_epi16(0x7f));
  const __m512i above = _mm512_sub_epi16(magnitude, _mm512_set1_epi16(8));  // the smallest normal number
  const __mmask32 special = _mm512_cmpgt_epu16_mask(above, _mm512_set1_epi16(0x76));
  const __m512i normal = _mm512_add_epi16(_mm512_slli_epi16(above, 4), _mm512_set1_epi16(0x3c80));
  const __m512i found = _mm512_mask_permutexvar_epi16(normal, special, magnitude, table);                                             // by the lowest five bits
  return (BitVec)_mm512_ternarylogic_epi32(found, _mm512_slli_epi16(codes, 8), _mm512_set1_epi16(static_cast<short>(0x8000)), 0xf8);  // a | (b & c)
}
#else
/// Two vectors at once: half of the instructions on bits.
ATTN_INLINE void load_pair(const Float8* p, Vec (&pair)[2]) {
  BytePairVec codes;
  __builtin_memcpy(&codes, p, sizeof codes);
  const ShortPairVec halves = half_bits_of(__builtin_convertvector(codes, ShortPairVec));
  ShortVec part[2];
  __builtin_memcpy(part, &halves, sizeof halves);
  pair[0] = widen_halves(part[0]) * 0x1p8f;
  pair[1] = widen_halves(part[1]) * 0x1p8f;
}
#endif

/// Rounds to nearest even; beyond ±448 it is ±448. NaN stays NaN.
ATTN_INLINE void store(Float8* p, Vec v) {
  const BitVec bits = bits_of(v);
  const BitVec all = bits & 0x7fffffffu;
  const BitVec magnitude = vec_of(all) > 448.0f ? broadcast(0x43e00000u) : all;  // NaN compares false
  const BitVec normal = (magnitude + 0x7ffffu + ((magnitude >> 20) & 1u) - 0x3c000000u) >> 20;
  // Below 2^-6, adding 2^14 leaves the rounded multiple of 2^-9 in the low mantissa bits.
  const BitVec small = bits_of(vec_of(magnitude) + 0x1p14f) - 0x46800000u;
  BitVec code = magnitude < 0x3c800000u ? small : normal;
  code = v == v ? code : broadcast(0x7fu);
  const ByteVec bytes = __builtin_convertvector(code | ((bits >> 24) & 0x80u), ByteVec);
  __builtin_memcpy(p, &bytes, sizeof bytes);
}

}  // namespace attn::cpu::ATTN_ISA
