// What the models of scalar instructions are made of: registers read as numbers, and the formats that C++ has no type for.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

inline float f(u64 v) { return std::bit_cast<float>(static_cast<u32>(v)); }
inline double d(u64 v) { return std::bit_cast<double>(v); }
inline u64 bits(float v) { return std::bit_cast<u32>(v); }
inline u64 bits(double v) { return std::bit_cast<u64>(v); }
inline i32 s(u64 v) { return static_cast<i32>(static_cast<u32>(v)); }
inline u32 w(u64 v) { return static_cast<u32>(v); }
inline i64 q(u64 v) { return static_cast<i64>(v); }
/// A code of an 8-bit float of `mantissa` bits and the bias; infinities and NaNs are for the caller.
inline double value8(u32 code, int mantissa, int bias) {
  const int exponent = static_cast<int>(code >> mantissa & ((128u >> mantissa) - 1)), fraction = static_cast<int>(code & ((1u << mantissa) - 1));
  const double magnitude = exponent == 0 ? std::ldexp(fraction, 1 - bias - mantissa) : std::ldexp((1 << mantissa) + fraction, exponent - bias - mantissa);
  return (code & 128) != 0 ? -magnitude : magnitude;
}
/// The code nearest to v of those up to `most`, the even one of two.
inline u64 nearest8(double v, int mantissa, int bias, u32 most) {
  if (std::isnan(v)) return 127;
  const double magnitude = std::min(std::fabs(v), value8(most, mantissa, bias));
  u32 best = 0;
  for (u32 code = 1; code <= most; code++) {
    const double far = std::fabs(magnitude - value8(best, mantissa, bias)), near = std::fabs(magnitude - value8(code, mantissa, bias));
    if (near < far || (near == far && code % 2 == 0)) best = code;
  }
  return best | (std::signbit(v) ? 128 : 0);
}
inline double half(u64 v) {
  const int e = static_cast<int>(v >> 10 & 31);
  const double m = static_cast<double>(v & 1023);
  const double magnitude = e == 31 ? (m != 0 ? NAN : INFINITY) : e == 0 ? std::ldexp(m, -24) : std::ldexp(1024 + m, e - 25);
  return (v & 0x8000) != 0 ? -magnitude : magnitude;
}
inline u64 e4m3(double v) { return nearest8(v, 3, 7, 126); }
inline u64 e5m2(double v) { return nearest8(v, 2, 15, 123); }
/// The f16 of a code: 8-bit floats are f16s exactly. Every NaN becomes the canonical one.
inline u64 half_of(u32 code, int mantissa, int bias) {
  const u32 rest = code & 127;
  if (mantissa == 3 ? rest == 127 : rest > 124) return 0x7fff;
  if (mantissa == 2) return u64{code} << 8;
  const double v = value8(rest, mantissa, bias);
  u64 bits = 0;
  while (half(bits) != v) bits += 0x20;
  return bits | (code & 128) << 8;
}

inline u64 as(i32 v) { return static_cast<u32>(v); }
