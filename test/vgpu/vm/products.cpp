#include "products.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "half.h"

// The same sums on every processor; only the width of its vectors is its own.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VGPU_CLONES [[gnu::target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")]]
#else
#define VGPU_CLONES
#endif

namespace vgpu {
namespace {

std::array<float, 256> make_e4m3() {
  std::array<float, 256> table{};
  for (int n = 0; n < 256; n++) table[static_cast<std::size_t>(n)] = e4m3_to_float(static_cast<std::uint8_t>(n));
  return table;
}

std::array<float, 256> make_e5m2() {  // the upper half of an f16
  std::array<float, 256> table{};
  for (int n = 0; n < 256; n++) table[static_cast<std::size_t>(n)] = f16_to_float(static_cast<std::uint16_t>(n << 8));
  return table;
}

const std::array<float, 256> kE4m3 = make_e4m3();
const std::array<float, 256> kE5m2 = make_e5m2();

/// Exponent and mantissa moved to their places in a float and the bias corrected by a product, which is exact for subnormals too.
inline float from_f16(std::uint32_t h) {
  const std::uint32_t magnitude = (h & 0x7fff) << 13;
  const std::uint32_t finite = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  const std::uint32_t bits = (h & 0x7c00) == 0x7c00 ? magnitude | 0x7f800000 : finite;
  return std::bit_cast<float>(bits | (h & 0x8000) << 16);
}

VGPU_CLONES void f16_to_floats(const std::uint16_t* in, int count, float sign, float* out) {
  for (int n = 0; n < count; n++) out[n] = from_f16(in[n]) * sign;
}

VGPU_CLONES void bf16_to_floats(const std::uint16_t* in, int count, float sign, float* out) {
  for (int n = 0; n < count; n++) out[n] = std::bit_cast<float>(static_cast<std::uint32_t>(in[n]) << 16) * sign;
}

/// kRows rows and kColumns columns of the product, kept in registers.
template <int kRows, int kColumns>
[[gnu::always_inline]] inline void block(float* c, const float* a, const float* b, int depth) {
  using Columns [[gnu::vector_size(kColumns * sizeof(float)), gnu::aligned(4)]] = float;
  Columns sums[kRows];
  for (int r = 0; r < kRows; r++) std::memcpy(&sums[r], c + r * kWgmmaColumns, sizeof(Columns));
  for (int k = 0; k < depth; k++) {
    Columns row;
    std::memcpy(&row, b + k * kWgmmaColumns, sizeof row);
    for (int r = 0; r < kRows; r++) sums[r] += row * a[r * depth + k];
  }
  for (int r = 0; r < kRows; r++) std::memcpy(c + r * kWgmmaColumns, &sums[r], sizeof(Columns));
}

}  // namespace

VGPU_CLONES void multiply(float* c, const float* a, const float* b, int n, int k) {
  for (int column = 0; column + 16 <= n; column += 16) {
    for (int row = 0; row < kWgmmaRows; row += 4) block<4, 16>(c + row * kWgmmaColumns + column, a + row * k, b + column, k);
  }
  if (n % 16 != 0) {
    for (int row = 0; row < kWgmmaRows; row += 4) block<4, 8>(c + row * kWgmmaColumns + n - 8, a + row * k, b + n - 8, k);
  }
}

void to_floats(const std::uint8_t* elements, WgmmaElement type, int count, float sign, float* out) {
  if (bytes_of(type) == 1) {
    const auto& table = type == WgmmaElement::kE4m3 ? kE4m3 : kE5m2;
    for (int n = 0; n < count; n++) out[n] = table[elements[n]] * sign;
    return;
  }
  const auto* halves = reinterpret_cast<const std::uint16_t*>(elements);
  type == WgmmaElement::kF16 ? f16_to_floats(halves, count, sign, out) : bf16_to_floats(halves, count, sign, out);
}

// Two registers are neighbouring columns: a lane's two floats are one word of 64 bits in the tile.
VGPU_CLONES void accumulators_to_tile(std::uint64_t* const registers[], int n, float* c) {
  for (int j = 0; j < n / 4; j++) {  // two registers each: eight columns of eight rows
    const std::uint64_t* even = registers[2 * j];
    const std::uint64_t* odd = registers[2 * j + 1];
    float* const to = c + j % 2 * 8 * kWgmmaColumns + j / 2 * 8;
    for (int g = 0; g < 8; g++) {
      std::uint64_t words[4];
      for (int t = 0; t < 4; t++) words[t] = (even[4 * g + t] & 0xffffffff) | odd[4 * g + t] << 32;
      std::memcpy(to + g * kWgmmaColumns, words, sizeof words);
    }
  }
}

VGPU_CLONES void tile_to_accumulators(const float* c, int n, std::uint64_t* const registers[]) {
  for (int j = 0; j < n / 4; j++) {
    std::uint64_t* even = registers[2 * j];
    std::uint64_t* odd = registers[2 * j + 1];
    const float* const from = c + j % 2 * 8 * kWgmmaColumns + j / 2 * 8;
    for (int g = 0; g < 8; g++) {
      std::uint64_t words[4];
      std::memcpy(words, from + g * kWgmmaColumns, sizeof words);
      for (int t = 0; t < 4; t++) even[4 * g + t] = words[t] & 0xffffffff;
      for (int t = 0; t < 4; t++) odd[4 * g + t] = words[t] >> 32;
    }
  }
}

}  // namespace vgpu
