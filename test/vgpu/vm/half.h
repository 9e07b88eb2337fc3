// The 16-bit and 8-bit float formats, with the compiler's own _Float16 so that nothing is shared with the package's conversions.
#pragma once
#include <algorithm>
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

/// An 8-bit float of `mantissa` bits whose least exponent of a normal number is `least`. .satfinite: beyond `most` it stays `most`.
inline std::uint8_t float_to_8bits(float value, int mantissa, int least, float most) {
  if (std::isnan(value)) return 127;
  const std::uint8_t sign = std::signbit(value) ? 128 : 0;
  const float magnitude = std::min(std::fabs(value), most);
  int exponent = least;
  if (magnitude >= std::ldexp(1.0f, least)) exponent = std::ilogb(magnitude);
  // In units of the last mantissa bit; one more unit than fits is the next exponent's first code, which follows.
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, mantissa - exponent)));
  return static_cast<std::uint8_t>(sign | (((exponent - least) << mantissa) + units));
}
inline std::uint8_t float_to_e4m3(float value) { return float_to_8bits(value, 3, -6, 448); }
inline std::uint8_t float_to_e5m2(float value) { return float_to_8bits(value, 2, -14, 57344); }
inline float e5m2_to_float(std::uint8_t bits) { return f16_to_float(static_cast<std::uint16_t>(bits << 8)); }

}  // namespace vgpu
