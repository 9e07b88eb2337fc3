#pragma once
// Standard normal numbers that do not depend on the device or the platform: integer arithmetic and polynomials only, since
// the last bits of a C library's log and cos differ. Where the compiler fuses multiplications and additions a float64 may
// still differ in its last bits, of which rounding to float32 shows about one in 10^8.

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

namespace attn {

/// Philox4x32-10: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
inline std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

/// Natural logarithm of a positive normal number: log m + e · log 2 with m in [√½, √2) and the series of 2 · atanh.
inline double portable_log(double x) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52) - 1022;
  double mantissa = std::bit_cast<double>((bits & 0xfffffffffffffull) | 0x3fe0000000000000ull);  // [½, 1)
  const bool low = mantissa < 0.70710678118654752440;
  mantissa = low ? 2 * mantissa : mantissa;
  exponent -= low;
  const double s = (mantissa - 1) / (mantissa + 1);  // |s| < 0.1716: eleven terms reach 2^-54
  constexpr double kSeries[] = {1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1.0};
  double series = 0;
  for (const double coefficient : kSeries) series = series * (s * s) + coefficient;
  return 2 * s * series + exponent * 0.69314718055994530942;
}

struct SinCos {
  double sin, cos;
};

/// Sine and cosine of `turn` · 2π / 2^32. Reducing to an eighth of a turn is exact in integers.
inline SinCos portable_sincos(std::uint32_t turn) {
  const std::uint32_t quarter = (turn + 0x20000000u) >> 30;
  const double x = static_cast<std::int32_t>(turn - (quarter << 30)) * (6.28318530717958647693 / 4294967296.0);  // |x| <= π / 4
  const double z = x * x;
  // Taylor series as nested products: each term is the one before times z / (k (k - 1)).
  constexpr double kSin[] = {1.0 / (17 * 16), 1.0 / (15 * 14), 1.0 / (13 * 12), 1.0 / (11 * 10), 1.0 / (9 * 8), 1.0 / (7 * 6), 1.0 / (5 * 4), 1.0 / (3 * 2)};
  constexpr double kCos[] = {1.0 / (16 * 15), 1.0 / (14 * 13), 1.0 / (12 * 11), 1.0 / (10 * 9), 1.0 / (8 * 7), 1.0 / (6 * 5), 1.0 / (4 * 3), 1.0 / 2};
  double sin = 1, cos = 1;
  for (int i = 0; i < 8; ++i) {
    sin = 1 - sin * (z * kSin[i]);
    cos = 1 - cos * (z * kCos[i]);
  }
  sin *= x;
  // Each quarter of a turn swaps the two and changes one sign; no branches, which random angles would mispredict.
  const bool odd = quarter & 1;
  const double sin_sign = 1 - static_cast<int>(quarter & 2), cos_sign = 1 - static_cast<int>((quarter + 1) & 2);
  return {sin_sign * (odd ? cos : sin), cos_sign * (odd ? sin : cos)};
}

/// Elements 4 · block … 4 · block + 3 of the stream of `seed`: Box and Muller's transform of one Philox block.
inline std::array<double, 4> normal_block(std::uint64_t seed, std::uint64_t block) {
  const auto words = philox4x32_10({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), 0, 0},
                                   {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  std::array<double, 4> normals{};
  for (int pair = 0; pair < 2; ++pair) {
    const double uniform = (words[2 * pair] + 0.5) * (1.0 / 4294967296.0);  // in (0, 1), never 0
    const double radius = std::sqrt(-2 * portable_log(uniform));
    const SinCos angle = portable_sincos(words[2 * pair + 1]);
    normals[2 * pair] = radius * angle.cos;
    normals[2 * pair + 1] = radius * angle.sin;
  }
  return normals;
}

}  // namespace attn
