#pragma once

#include <cstdint>

#include "cpu/isa.h"

namespace attn::cpu {

/// Compiled per instruction set.
struct ProbeTable {
  /// Lanes of all chains together: steps of one round.
  std::int64_t steps;
  /// x = factor · x + step for `rounds` rounds in each of several independent chains, from 0: the sum of all lanes.
  double (*multiply_add)(std::int64_t rounds, float factor, float step);
  /// The same with dot products of bfloat16 pairs, steps of 1; null where the instruction set has none.
  double (*bf16_dot)(std::int64_t rounds);
  /// The sum of the words modulo 2³².
  std::uint32_t (*read)(const std::int32_t* words, std::int64_t count);
};

#define ATTN_DECLARE(isa)              \
  namespace isa {                      \
  extern const ProbeTable kProbeTable; \
  }
ATTN_FOR_EACH_ISA(ATTN_DECLARE)
#undef ATTN_DECLARE

}  // namespace attn::cpu
