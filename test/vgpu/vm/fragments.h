// Fragments of the warp-wide matrix instructions: which lane holds which element. PTX ISA 9.7.15, "Warp-Level Matrix Instructions".
//
// Lane l is thread t = l % 4 of group g = l / 4. A register holds two 16-bit elements (the lower half has the lower column or row)
// or one 32-bit element. Register q of the lane holds, of the
//   A of m16n8k16, 16-bit, 4 registers:  row g + 8 (q % 2), columns 2t + 8 (q / 2) and the next
//   B of m16n8k16, 16-bit, 2 registers:  rows 2t + 8q and the next, column g
//   A of m16n8k8,  16-bit, 2 registers:  row g + 8q, columns 2t and the next
//   B of m16n8k8,  16-bit, 1 register:   rows 2t and the next, column g
//   A of m16n8k8,  tf32,   4 registers:  row g + 8 (q % 2), column t + 4 (q / 2)
//   B of m16n8k8,  tf32,   2 registers:  row t + 4q, column g
//   A of m16n8k4,  tf32,   2 registers:  row g + 8q, column t
//   B of m16n8k4,  tf32,   1 register:   row t, column g
//   C and D 16x8,  f32,    4 registers:  row g + 8 (q / 2), column 2t + q % 2
//   C and D 16x8,  f16,    2 registers:  row g + 8q, columns 2t and the next
//   8x8 matrix of ldmatrix, stmatrix, movmatrix, 1 register: row g, columns 2t and the next (.trans: column g, rows 2t and the next)
#pragma once
#include <cstdint>

namespace vgpu {

constexpr int kLanes = 32;
constexpr int lane_group(int lane) { return lane >> 2; }
constexpr int lane_thread(int lane) { return lane & 3; }

/// One register of a warp: the values of its 32 lanes.
using LaneValues = std::uint32_t[kLanes];

enum class MmaElement { kF16, kBf16, kTf32 };

struct MmaShape {
  int k;  // 4, 8 or 16; m is 16, n is 8
  MmaElement element;
  bool f16_accumulate;  // C and D are f16
};

constexpr int registers_of_a(const MmaShape& s) { return s.element == MmaElement::kTf32 ? s.k / 2 : s.k / 4; }
constexpr int registers_of_b(const MmaShape& s) { return registers_of_a(s) / 2; }
constexpr int registers_of_c(const MmaShape& s) { return s.f16_accumulate ? 2 : 4; }

/// D = A B + C. d may be the same registers as c.
void mma(const MmaShape& shape, std::uint32_t* const d[], const std::uint32_t* const a[], const std::uint32_t* const b[], const std::uint32_t* const c[]);

/// An 8x8 matrix of 16-bit elements, row-major, into one register and back.
void matrix_to_register(const std::uint16_t matrix[64], bool transposed, LaneValues& out);
void register_to_matrix(const LaneValues& in, bool transposed, std::uint16_t matrix[64]);

}  // namespace vgpu
