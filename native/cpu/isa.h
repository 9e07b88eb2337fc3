#pragma once
// THE list of CPU instruction sets, best first. Kernel sources named in CMakeLists.txt are compiled once per entry with
// -DATTN_ISA=<entry>; they live in namespace attn::cpu::<entry> and see the vector interface of cpu/simd/<entry>.h.
//
// Such a source must leave no weak symbol outside its namespace (containers, std::min, inline functions of core/): the
// linker keeps one copy of a weak symbol for everybody, and it might be the one compiled for AVX-512.

#if defined(__x86_64__)
#define ATTN_FOR_EACH_ISA(X) X(avx512) X(avx2) X(baseline)
#elif defined(__aarch64__)
#define ATTN_FOR_EACH_ISA(X) X(neon) X(baseline)
#else
#define ATTN_FOR_EACH_ISA(X) X(baseline)
#endif

namespace attn::cpu {

/// Why this processor cannot run code for `isa` (a static text); nullptr when it can.
const char* isa_missing(const char* isa);

/// The best instruction set that this processor has and NODE_FLASH_ATTENTION_ISA allows.
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
