#pragma once
// Rows of any compute dtype, whole or in part: what kernels use at the end of a row and where features are not adjacent.

#include "core/dtype.h"
#include "cpu/simd/vec_float8.h"

namespace attn::cpu::ATTN_ISA {

/// The first `count` elements at p, `stride` elements apart, then zeros. Reads nothing else.
template <class T>
ATTN_INLINE Vec load_partial(const T* p, std::int64_t count, std::int64_t stride = 1) {
  T buffer[kLanes] = {};
  const int n = static_cast<int>(count < kLanes ? count : kLanes);
  for (int i = 0; i < n; ++i) buffer[i] = p[i * stride];
  return load(buffer);
}

/// Writes the first `count` lanes, `stride` elements apart, and nothing else.
template <class T>
ATTN_INLINE void store_partial(T* p, Vec v, std::int64_t count, std::int64_t stride = 1) {
  T buffer[kLanes];
  store(buffer, v);
  const int n = static_cast<int>(count < kLanes ? count : kLanes);
  for (int i = 0; i < n; ++i) p[i * stride] = buffer[i];
}

/// Features of two vectors. Those of BFloat, and what becomes it on the way, are dealt, the even ones first: a shift and a mask of one load give both, where two
/// loads in order take twice as many instructions. What they meet in a sum must be dealt alike.
template <class T>
ATTN_INLINE void load_pair(const T* p, Vec (&pair)[2]) {
  pair[0] = load(p);
  pair[1] = load(p + kLanes);
}
ATTN_INLINE void deal(BitVec bfloats, Vec (&pair)[2]) {
  pair[0] = vec_of(bfloats << 16);
  pair[1] = vec_of(bfloats & 0xffff0000u);
}
ATTN_INLINE void load_pair(const BFloat* p, Vec (&pair)[2]) {
  BitVec bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  deal(bits, pair);
}
template <class T>
inline constexpr bool kDealt = false;
template <>
inline constexpr bool kDealt<BFloat> = true;
#ifdef __AVX512BW__
ATTN_INLINE void load_pair(const Float8* p, Vec (&pair)[2]) { deal(bfloat_pairs(p), pair); }
template <>
inline constexpr bool kDealt<Float8> = true;
#endif

template <int... kLane>
ATTN_INLINE void deal_of(Vec a, Vec b, float* to, std::integer_sequence<int, kLane...>) {
  store(to, __builtin_shufflevector(a, b, (2 * kLane)...));
  store(to + kLanes, __builtin_shufflevector(a, b, (2 * kLane + 1)...));
}
/// The order of load_pair() for the whole pairs of a row of `dim` features, and back.
ATTN_INLINE void deal_row(float* row, std::int64_t dim) {
  for (std::int64_t d = 0; d + 2 * kLanes <= dim; d += 2 * kLanes) deal_of(load(row + d), load(row + d + kLanes), row + d, LaneSequence{});
}
ATTN_INLINE void undeal_row(float* row, std::int64_t dim) {
  for (std::int64_t d = 0; d + 2 * kLanes <= dim; d += 2 * kLanes) {
    const Vec even = load(row + d), odd = load(row + d + kLanes);
    store(row + d, interleave_low(even, odd));
    store(row + d + kLanes, interleave_high(even, odd));
  }
}

template <class Pointer>
struct Pointee;
template <class T>
struct Pointee<const T*> {
  using Type = T;
};
template <class Pointer>
using ElementOf = typename Pointee<Pointer>::Type;

/// Calls fn with a null pointer to the element type of a compute dtype.
template <class Fn>
ATTN_INLINE void with_dtype(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::kFloat16: return fn(static_cast<const Half*>(nullptr));
    case DType::kBFloat16: return fn(static_cast<const BFloat*>(nullptr));
    default: return fn(static_cast<const float*>(nullptr));
  }
}

/// The same with float8_e4m3, which attention's operands may have.
template <class Fn>
ATTN_INLINE void with_operand_dtype(DType dtype, Fn&& fn) {
  if (dtype == DType::kFloat8E4M3) return fn(static_cast<const Float8*>(nullptr));
  with_dtype(dtype, fn);
}

}  // namespace attn::cpu::ATTN_ISA
