#if defined(__aarch64__)
#define ATTN_ISA neon
#include "simd_functions_isa.h"

namespace attn::test {
const SimdFunctions kSimdNeon = cpu::neon::kFunctions;
}  // namespace attn::test
#endif
