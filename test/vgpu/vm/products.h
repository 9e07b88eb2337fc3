// Products of float tiles, and the elements of wgmma's operands as floats.
#pragma once
#include <cstdint>

namespace vgpu {

enum class WgmmaElement { kF16, kBf16, kE4m3, kE5m2 };

constexpr int bytes_of(WgmmaElement e) { return e == WgmmaElement::kF16 || e == WgmmaElement::kBf16 ? 2 : 1; }

constexpr int kWgmmaRows = 64;
constexpr int kWgmmaColumns = 256;  // at most
constexpr int kWgmmaDepth = 32;     // at most

/// `count` elements, a multiple of 8, to floats times `sign`.
void to_floats(const std::uint8_t* elements, WgmmaElement type, int count, float sign, float* out);

/// c [64][kWgmmaColumns] += a [64][k] · b [k][kWgmmaColumns], for the first n columns, n a multiple of 8. Summed in float32, k ascending, each product
/// rounded; the hardware keeps other bits in between and truncates, so that the last bits of a result cannot be compared with a GPU's.
void multiply(float* c, const float* a, const float* b, int n, int k);

/// The accumulators of one warp, registers of 32 lanes with 64 bits each, to its 16 rows of c and back. Register 4 j + 2 h + e of lane l holds row
/// l / 4 + 8 h, column 8 j + 2 (l % 4) + e. PTX ISA 9.7.15.5.1.1 "Register Fragments", D.
void accumulators_to_tile(std::uint64_t* const registers[], int n, float* c);
void tile_to_accumulators(const float* c, int n, std::uint64_t* const registers[]);

}  // namespace vgpu
