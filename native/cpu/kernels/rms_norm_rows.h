#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "cpu/isa.h"

namespace attn::cpu {

struct RmsNormRow {
  const std::byte* x;       // [width]
  const std::byte* weight;  // [width]
  std::byte* y;             // [width], x's dtype; may be x
  DType dtype, weight_dtype;
  std::int64_t width;
  float eps;
};

/// Compiled per instruction set.
struct RmsNormTable {
  void (*normalize)(const RmsNormRow& row);
};

#define ATTN_DECLARE(isa)                  \
  namespace isa {                          \
  extern const RmsNormTable kRmsNormTable; \
  }
ATTN_FOR_EACH_ISA(ATTN_DECLARE)
#undef ATTN_DECLARE

}  // namespace attn::cpu
