#pragma once
// Element types as C++ types, and the conversion between any two of them: always one rounding, to nearest even.

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/convert.h"
#include "core/dtype.h"

namespace attn {

/// A double as a float32 whose last bit remembers whether anything was cut off ("round to odd"): rounding that to a
/// narrower type gives what rounding the double at once would give (Boldo and Melquiond, 2008).
inline float round_to_odd(double value) {
  const float nearest = static_cast<float>(value);
  if (std::isnan(value) || static_cast<double>(nearest) == value) return nearest;
  std::uint32_t bits = std::bit_cast<std::uint32_t>(nearest);
  if (std::fabs(static_cast<double>(nearest)) > std::fabs(value)) --bits;  // toward zero
  return std::bit_cast<float>(bits | 1u);
}

/// Toward zero, saturating; NaN gives 0.
inline std::int32_t truncate_to_int32(double value) {
  if (std::isnan(value)) return 0;
  if (value <= -2147483648.0) return std::numeric_limits<std::int32_t>::min();
  if (value >= 2147483647.0) return std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(value);
}

/// Bits: how the type lies in memory. load: its exact value. store: the nearest representable one.
template <DType D>
struct Element;

template <>
struct Element<DType::kFloat32> {
  using Bits = float;
  static float load(Bits bits) { return bits; }
  static Bits store(float value) { return value; }
  static Bits store(double value) { return static_cast<float>(value); }
  static Bits store(std::int32_t value) { return static_cast<float>(value); }
};

template <class NarrowBits, float (*kLoad)(NarrowBits), NarrowBits (*kStore)(float)>
struct NarrowElement {
  using Bits = NarrowBits;
  static float load(Bits bits) { return kLoad(bits); }
  static Bits store(float value) { return kStore(value); }
  static Bits store(double value) { return kStore(round_to_odd(value)); }
  static Bits store(std::int32_t value) { return store(static_cast<double>(value)); }
};

template <>
struct Element<DType::kFloat16> : NarrowElement<std::uint16_t, f16_to_float, float_to_f16> {};
template <>
struct Element<DType::kBFloat16> : NarrowElement<std::uint16_t, bf16_to_float, float_to_bf16> {};
template <>
struct Element<DType::kFloat8E4M3> : NarrowElement<std::uint8_t, e4m3_to_float, float_to_e4m3> {};

template <>
struct Element<DType::kInt32> {
  using Bits = std::int32_t;
  static std::int32_t load(Bits bits) { return bits; }
  static Bits store(double value) { return truncate_to_int32(value); }
  static Bits store(std::int32_t value) { return value; }
};

/// Between equal types the bits stay as they are, payloads of NaN included.
template <DType kFrom, DType kTo>
typename Element<kTo>::Bits convert_element(typename Element<kFrom>::Bits bits) {
  if constexpr (kFrom == kTo) {
    return bits;
  } else if constexpr (kTo == DType::kInt32) {
    return Element<kTo>::store(static_cast<double>(Element<kFrom>::load(bits)));
  } else {
    return Element<kTo>::store(Element<kFrom>::load(bits));
  }
}

template <DType D>
using DTypeConstant = std::integral_constant<DType, D>;

/// Calls fn with the dtype as a constant: with_dtype(d, [&](auto constant) { Element<constant.value> … }).
template <class Fn>
decltype(auto) with_dtype(DType dtype, Fn&& fn) {
  switch (dtype) {
#define ATTN_DTYPE(id, name, bytes, is_float) \
  case DType::id:                             \
    return fn(DTypeConstant<DType::id>{});
#include "core/dtype.def"
#undef ATTN_DTYPE
  }
  return fn(DTypeConstant<DType::kFloat32>{});  // not reached: every enumerator has its case
}

}  // namespace attn
