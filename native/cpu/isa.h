#pragma once
// THE lists of CPU instruction sets, best first. Kernel sources named in CMakeLists.txt are compiled once per entry with
// -DATTN_ISA=<entry>; they live in namespace attn::cpu::<entry> and see the vector interface of cpu/simd/<entry>.h.
// Those of ATTN_FOR_EACH_BF16_ISA multiply bfloat16 by instructions of their own: only kernels that gain by it are compiled for
// them, and their interface has matrix products of bfloat16 (cpu/simd/bf16_product.h) besides the vectors of AVX-512.
//
// Such a source must leave no weak symbol outside its namespace (containers, std::min, inline functions of core/): the
// linker keeps one copy of a weak symbol for everybody, and it might be the one compiled for AVX-512.

#if defined(__x86_64__)
#define ATTN_FOR_EACH_BF16_ISA(X) X(amx) X(avx512bf16)
#define ATTN_FOR_EACH_ISA(X) X(avx512) X(avx2) X(baseline)
#elif defined(__aarch64__)
#define ATTN_FOR_EACH_BF16_ISA(X)
#define ATTN_FOR_EACH_ISA(X) X(neon) X(baseline)
#else
#define ATTN_FOR_EACH_BF16_ISA(X)
#define ATTN_FOR_EACH_ISA(X) X(baseline)
#endif

namespace attn::cpu {

/// Whether this processor can run code for `isa` at all. For AMX it asks the system to let this process use it.
bool processor_has(const char* isa);

/// Why kernels for `isa` are not to be used here (a static text); nullptr when they are.
const char* isa_missing(const char* isa);

/// The best instruction set of ATTN_FOR_EACH_ISA that this processor has and NODE_FLASH_ATTENTION_ISA allows.
const char* isa_in_use();

}  // namespace attn::cpu

#ifdef ATTN_ISA
#define ATTN_ISA_QUOTED_(text) #text
#define ATTN_ISA_QUOTED(text) ATTN_ISA_QUOTED_(text)
// Unformatted: spaces would become part of the name.
// clang-format off
#include ATTN_ISA_QUOTED(cpu/simd/ATTN_ISA.h)
// clang-format on
#define ATTN_ISA_NAME ATTN_ISA_QUOTED(ATTN_ISA)
#endif
