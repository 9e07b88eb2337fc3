#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "cpu/isa.h"

namespace attn::cpu {

/// The rotated features of one head of one token. cos and sin are [dim / 2] for halves. For interleaved pairs they are
/// [dim], each cosine twice and each sine as (-sin, sin): then y = x · cos + (x with neighbours swapped) · sin.
struct RopeRow {
  const std::byte* x;  // [dim]
  std::byte* y;        // [dim]; may be x
  DType dtype;
  const float* cos;
  const float* sin;
  int dim;
};

/// Compiled per instruction set.
struct RopeTable {
  void (*rotate_halves)(const RopeRow& row);
  void (*rotate_interleaved)(const RopeRow& row);
};

#define ATTN_DECLARE(isa)            \
  namespace isa {                    \
  extern const RopeTable kRopeTable; \
  }
ATTN_FOR_EACH_ISA(ATTN_DECLARE)
#undef ATTN_DECLARE

}  // namespace attn::cpu
