#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "cpu/isa.h"

namespace attn::cpu {

/// out = Σ weights[i] · rows[i] over `count` rows of `dim` features; no rows give 0.
struct MergeRow {
  const std::byte* const* rows;
  const float* weights;
  std::int64_t count;
  std::byte* out;
  DType dtype;  // of rows and out
  std::int64_t dim;
};

/// Compiled per instruction set.
struct MergeTable {
  void (*merge)(const MergeRow& row);
};

#define ATTN_DECLARE(isa)              \
  namespace isa {                      \
  extern const MergeTable kMergeTable; \
  }
ATTN_FOR_EACH_ISA(ATTN_DECLARE)
#undef ATTN_DECLARE

}  // namespace attn::cpu
