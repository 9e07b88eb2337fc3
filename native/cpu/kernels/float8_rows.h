#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"

namespace attn::cpu {

/// Dense runs between a compute dtype and float8_e4m3 with a scale; compiled per instruction set. By the numbers of kFloat32, kFloat16, kBFloat16.
struct Float8Table {
  /// dst = src / scale in float32, rounded to nearest even, beyond ±448 ±448; NaN stays NaN.
  using Quantise = void (*)(const std::byte* src, float scale, std::byte* dst, std::int64_t count);
  Quantise quantise[3];
  /// dst = src · scale in float32, rounded to nearest even.
  using Widen = void (*)(const std::byte* src, float scale, std::byte* dst, std::int64_t count);
  Widen widen[3];
  /// The largest |src|, NaN left out; 0 of none.
  using Largest = float (*)(const std::byte* src, std::int64_t count);
  Largest largest[3];
};

#define ATTN_DECLARE(isa)                \
  namespace isa {                        \
  extern const Float8Table kFloat8Table; \
  }
ATTN_FOR_EACH_ISA(ATTN_DECLARE)
#undef ATTN_DECLARE

/// Of the strongest instruction set that is usable here.
const Float8Table& float8_table();

}  // namespace attn::cpu
