#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,prefer-vector-width=512")
#define ATTN_ISA avx512
#include "simd_functions_isa.h"

namespace attn::test {
const SimdFunctions kSimdAvx512 = cpu::avx512::kFunctions;
}  // namespace attn::test
#endif
