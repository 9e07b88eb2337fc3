#pragma once
// The vector interface of the CPU kernels, on the compiler's vector extensions: one source serves every instruction set.
// Included by simd/<isa>.h after it has set kLanes. a * b + c contracts to a fused multiply-add where the hardware has one.
// Everything here is always inlined, so that nothing compiled for one instruction set can be linked into another's code.

#include <cstdint>
#include <utility>

#define ATTN_INLINE inline __attribute__((always_inline))

namespace attn::cpu::ATTN_ISA {

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef std::int32_t IntVec __attribute__((vector_size(4 * kLanes)));
typedef std::uint32_t BitVec __attribute__((vector_size(4 * kLanes)));
typedef std::uint16_t ShortVec __attribute__((vector_size(2 * kLanes)));
typedef std::uint8_t ByteVec __attribute__((vector_size(kLanes)));

/// Storage of the narrow float types.
struct Half {
  std::uint16_t bits;
};
struct BFloat {
  std::uint16_t bits;
};
struct Float8 {  // e4m3
  std::uint8_t bits;
};

ATTN_INLINE constexpr std::int64_t min_of(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
ATTN_INLINE constexpr std::int64_t max_of(std::int64_t a, std::int64_t b) { return a > b ? a : b; }
constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

ATTN_INLINE Vec broadcast(float x) { return x - Vec{}; }  // x - 0 keeps -0 and NaN
ATTN_INLINE IntVec broadcast(std::int32_t x) { return x - IntVec{}; }
ATTN_INLINE BitVec broadcast(std::uint32_t x) { return x - BitVec{}; }
ATTN_INLINE BitVec bits_of(Vec v) { return reinterpret_cast<BitVec>(v); }
ATTN_INLINE Vec vec_of(BitVec v) { return reinterpret_cast<Vec>(v); }

// Loads and stores need no alignment. Those of Half and BFloat are in simd/<isa>.h or vec_half.h, of Float8 in vec_float8.h.
ATTN_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
ATTN_INLINE void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }

/// The upper 16 bits rounded to nearest even, in the lower half of each lane; NaN becomes quiet.
ATTN_INLINE BitVec bfloat_bits(Vec v) {
  const BitVec bits = bits_of(v);
  const BitVec rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const BitVec quiet = (bits >> 16) | 0x40u;
  return v == v ? rounded : quiet;
}

// ── lanes ──────────────────────────────────────────────────────────────────────────────────────────────────────

using LaneSequence = std::make_integer_sequence<int, kLanes>;

template <int... kLane>
ATTN_INLINE IntVec lane_numbers_of(std::integer_sequence<int, kLane...>) {
  return IntVec{kLane...};
}
/// {0, 1, 2, …}
ATTN_INLINE IntVec lane_numbers() { return lane_numbers_of(LaneSequence{}); }

template <int kDistance, int... kLane>
ATTN_INLINE Vec swap_lanes_of(Vec v, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(v, v, (kLane ^ kDistance)...);
}
template <int... kLane>
ATTN_INLINE Vec interleave_low_of(Vec a, Vec b, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(a, b, (kLane / 2 + (kLane & 1) * kLanes)...);
}
template <int... kLane>
ATTN_INLINE Vec interleave_high_of(Vec a, Vec b, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(a, b, ((kLane + kLanes) / 2 + (kLane & 1) * kLanes)...);
}
/// {a[0], b[0], a[1], b[1], …} and the same of the upper halves.
ATTN_INLINE Vec interleave_low(Vec a, Vec b) { return interleave_low_of(a, b, LaneSequence{}); }
ATTN_INLINE Vec interleave_high(Vec a, Vec b) { return interleave_high_of(a, b, LaneSequence{}); }

template <int kDistance = kLanes / 2>
ATTN_INLINE float reduce_add(Vec v) {
  v += swap_lanes_of<kDistance>(v, LaneSequence{});
  if constexpr (kDistance > 1) {
    return reduce_add<kDistance / 2>(v);
  } else {
    return v[0];
  }
}

/// Lanes that are NaN lose against any number in `b`: callers find NaN in the sums, not in the maxima.
ATTN_INLINE Vec max_of(Vec a, Vec b) { return a > b ? a : b; }

template <int kDistance = kLanes / 2>
ATTN_INLINE float reduce_max(Vec v) {
  v = max_of(v, swap_lanes_of<kDistance>(v, LaneSequence{}));
  if constexpr (kDistance > 1) {
    return reduce_max<kDistance / 2>(v);
  } else {
    return v[0];
  }
}

template <int kOdd, int... kLane>
ATTN_INLINE Vec lanes_by_two_of(Vec a, Vec b, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(a, b, (kLane / 4 * 4 + kLane % 2 * 2 + kOdd + kLane / 2 % 2 * kLanes)...);
}
template <int kOdd, int... kLane>
ATTN_INLINE Vec quads_by_two_of(Vec a, Vec b, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(a, b, (kLane / 4 * 8 + kOdd * 4 + kLane % 4)...);
}
/// Sums of neighbouring lanes, within each quad two of a and then two of b: one instruction per operand wherever quads are 128-bit lanes.
ATTN_INLINE Vec add_neighbours(Vec a, Vec b) { return lanes_by_two_of<0>(a, b, LaneSequence{}) + lanes_by_two_of<1>(a, b, LaneSequence{}); }
/// Sums of neighbouring quads, those of a and then those of b.
ATTN_INLINE Vec add_neighbour_quads(Vec a, Vec b) { return quads_by_two_of<0>(a, b, LaneSequence{}) + quads_by_two_of<1>(a, b, LaneSequence{}); }

/// {sum of v[0], sum of v[1], …}; destroys v. The order of summation is the same for every lane.
template <int kCount = kLanes>
ATTN_INLINE Vec reduce_add_each(Vec (&v)[kLanes]) {
  if constexpr (kCount == 1) {
    return v[0];
  } else {
    constexpr int kHalf = kCount / 2;
    constexpr bool kWithinQuads = kCount > kLanes / 4;
#pragma GCC unroll 16
    for (int i = 0; i < kHalf; ++i) v[i] = kWithinQuads ? add_neighbours(v[2 * i], v[2 * i + 1]) : add_neighbour_quads(v[2 * i], v[2 * i + 1]);
    return reduce_add_each<kHalf>(v);
  }
}

/// Rows become columns, by log2(kLanes) rounds of interleaving row i with row i + kLanes / 2.
template <int kRounds = kLanes>
ATTN_INLINE void transpose(Vec (&v)[kLanes]) {
  if constexpr (kRounds > 1) {
    Vec next[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes / 2; ++i) {
      next[2 * i] = interleave_low(v[i], v[i + kLanes / 2]);
      next[2 * i + 1] = interleave_high(v[i], v[i + kLanes / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) v[i] = next[i];
    transpose<kRounds / 2>(v);
  }
}

}  // namespace attn::cpu::ATTN_ISA
