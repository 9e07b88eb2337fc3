#pragma once
// Matrix products of bfloat16, accumulated in float32: C[rows, cols] = (C or 0) + A[rows, depth] · B[depth, cols].
//
// A and C are row-major with leading dimensions lda and ldc, in elements. B lies in panels of 16 columns whose depth goes by
// pairs: element (k, n) is b[n / 16 · panel_stride + k / 2 · 32 + n % 16 · 2 + k % 2]. cols is a multiple of 16, depth of 32; rows
// is any number. Each element sums over k in an order of its own, starting from C, in whatever tile it falls: the result of a row
// does not depend on the rows computed with it. Numbers below the smallest normal one count as 0.
//
// simd/<isa>.h provides it as
//   class Bf16Product {
//     Bf16Product();   // takes the hardware's tiles for this thread, until its end
//     template <bool kAccumulate>
//     void multiply(rows, cols, depth, a, lda, b, panel_stride, c, ldc) const;
//   };

#include "cpu/simd/vec_float8.h"

namespace attn::cpu::ATTN_ISA {

/// Columns of a panel, and rows of a tile.
inline constexpr int kPanelCols = 16;
/// Features or keys that a step of the depth takes.
inline constexpr int kDepthStep = 32;

static_assert(kLanes == kPanelCols, "a vector of pairs is a row of a panel");

struct NothingBeside {
  ATTN_INLINE void operator()() const {}
};

/// kDepthStep elements as they lie.
ATTN_INLINE BitVec load_elements(const BFloat* p) {
  BitVec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
ATTN_INLINE void store_elements(BFloat* p, BitVec v) { __builtin_memcpy(p, &v, sizeof v); }

/// The first `count` of them, `stride` apart, then zeros. Reads nothing else.
ATTN_INLINE BitVec load_elements(const BFloat* p, std::int64_t count, std::int64_t stride) {
  if (stride == 1 && count >= kDepthStep) return load_elements(p);
  BFloat buffer[kDepthStep] = {};
  const std::int64_t n = min_of(count, kDepthStep);
  for (std::int64_t i = 0; i < n; ++i) buffer[i] = p[i * stride];
  return load_elements(buffer);
}

/// The same of float8_e4m3, as bfloat16.
ATTN_INLINE BitVec load_elements(const Float8* p, std::int64_t count, std::int64_t stride) {
  if (stride == 1 && count >= kDepthStep) return bfloat_pairs(p);
  Float8 buffer[kDepthStep] = {};
  const std::int64_t n = min_of(count, kDepthStep);
  for (std::int64_t i = 0; i < n; ++i) buffer[i] = p[i * stride];
  return bfloat_pairs(buffer);
}

/// Rows become columns: 16 rows of 16 pairs.
ATTN_INLINE void transpose_pairs(BitVec (&v)[kPanelCols]) {
  Vec floats[kPanelCols];
#pragma GCC unroll 16
  for (int i = 0; i < kPanelCols; ++i) floats[i] = vec_of(v[i]);
  transpose(floats);
#pragma GCC unroll 16
  for (int i = 0; i < kPanelCols; ++i) v[i] = bits_of(floats[i]);
}

/// Pairs (a[i], b[i]) of two rows of kDepthStep elements: those of even i, then those of odd i.
ATTN_INLINE void pair_rows(BitVec a, BitVec b, BitVec& even, BitVec& odd) {
  even = (a & 0xffffu) | (b << 16);
  odd = (a >> 16) | (b & 0xffff0000u);
}

template <int... kLane>
ATTN_INLINE BitVec in_turn_of(BitVec even, BitVec odd, bool upper, std::integer_sequence<int, kLane...>) {
  return upper ? __builtin_shufflevector(even, odd, ((kLane + kLanes) / 2 + (kLane & 1) * kLanes)...)
               : __builtin_shufflevector(even, odd, (kLane / 2 + (kLane & 1) * kLanes)...);
}
/// The pairs in order of i again: the first or the last kPanelCols of them.
ATTN_INLINE BitVec in_turn(BitVec even, BitVec odd, bool upper) { return in_turn_of(even, odd, upper, LaneSequence{}); }

template <int... kHalf>
ATTN_INLINE BitVec interleave_halves_of(BitVec v, std::integer_sequence<int, kHalf...>) {
  typedef std::uint16_t Halves __attribute__((vector_size(4 * kLanes)));
  const Halves halves = reinterpret_cast<Halves>(v);
  return reinterpret_cast<BitVec>(__builtin_shufflevector(halves, halves, (kHalf / 2 + (kHalf & 1) * kLanes)...));
}
/// Elements i and kLanes + i become pair i.
ATTN_INLINE BitVec interleave_halves(BitVec v) { return interleave_halves_of(v, std::make_integer_sequence<int, 2 * kLanes>{}); }

/// Whether a half of any pair is infinite or NaN.
ATTN_INLINE bool any_not_finite(BitVec v) {
  const BitVec low = v & 0x7f80u, high = v & 0x7f800000u;
  const IntVec found = (low == 0x7f80u) | (high == 0x7f800000u);
  return reduce_max(__builtin_convertvector(found & 1, Vec)) != 0;
}

}  // namespace attn::cpu::ATTN_ISA
