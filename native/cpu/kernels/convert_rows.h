#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"

namespace attn::cpu {

/// Dense runs from one compute dtype to another, rounding to nearest even; compiled per instruction set.
struct ConvertTable {
  using Convert = void (*)(const std::byte* src, std::byte* dst, std::int64_t count);
  Convert convert[3][3];  // [from][to] by the numbers of kFloat32, kFloat16, kBFloat16; null on the diagonal
};

#define ATTN_DECLARE(isa)                  \
  namespace isa {                          \
  extern const ConvertTable kConvertTable; \
  }
ATTN_FOR_EACH_ISA(ATTN_DECLARE)
#undef ATTN_DECLARE

}  // namespace attn::cpu
