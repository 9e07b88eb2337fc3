// The 16-bit and 8-bit float formats, with the compiler's own _Float16 so that nothing is shared with the package's conversions.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace vgpu {

inline float f16_to_float(std::uint16_t bits) { return static_cast<float>(std::bit_cast<_Float16>(bits)); }
inline std::uint16_t float_to_f16(float value) { return std::bit_cast<std::uint16_t>(static_cast<_Float16>(value)); }

inline float bf16_to_float(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
inline std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) {
    return 0x7fff;  // cvt gives the canonical NaN
  }
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float e4m3_to_float(std::uint8_t bits) {
  const int exponent = bits >> 3 & 15;
  const int mantissa = bits & 7;
  const float magnitude = (bits & 127) == 127 ? NAN
                          : exponent == 0     ? std::ldexp(static_cast<float>(mantissa), -9)
                                              : std::ldexp(8.0f + static_cast<float>(mantissa), exponent - 10);
  return bits & 128 ? -magnitude : magnitude;
}

/// .satfinite: beyond 448 it stays 448.
inline std::uint8_t float_to_e4m3(float value) {
  const std::uint8_t sign = std::signbit(value) ? 128 : 0;
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) {
    return 127;
  }
  if (magnitude >= 448) {
    return sign | 126;
  }
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  const int unit = std::max(exponent - 4, -9);  // the last mantissa bit's power
  const float rounded = std::ldexp(std::nearbyint(std::ldexp(magnitude, -unit)), unit);
  std::uint8_t best = 0;
  while (best < 126 && e4m3_to_float(best) < rounded) {
    best++;
  }
  return sign | best;
}

}  // namespace vgpu
