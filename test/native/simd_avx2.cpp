#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#define ATTN_ISA avx2
#include "simd_functions_isa.h"

namespace attn::test {
const SimdFunctions kSimdAvx2 = cpu::avx2::kFunctions;
}  // namespace attn::test
#endif
