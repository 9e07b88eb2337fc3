#define ATTN_ISA wide
#include "simd_functions_isa.h"

namespace attn::test {
const SimdFunctions kSimdWide = cpu::wide::kFunctions;
}  // namespace attn::test
