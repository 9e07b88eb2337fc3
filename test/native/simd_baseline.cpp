#define ATTN_ISA baseline
#include "simd_functions_isa.h"

namespace attn::test {
const SimdFunctions kSimdBaseline = cpu::baseline::kFunctions;
}  // namespace attn::test
