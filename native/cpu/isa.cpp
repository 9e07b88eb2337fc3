#include "cpu/isa.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace attn::cpu {
namespace {

#define ATTN_QUOTED(isa) #isa,
constexpr const char* kOrder[] = {ATTN_FOR_EACH_ISA(ATTN_QUOTED)};
#undef ATTN_QUOTED

#if defined(__x86_64__)
/// By hand: clang's __builtin_cpu_supports does not know this one.
bool has_f16c() {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

bool processor_has(const char* isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (std::strcmp(isa, "avx512") == 0) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
  if (std::strcmp(isa, "avx2") == 0) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
#elif defined(__aarch64__)
  if (std::strcmp(isa, "neon") == 0) return true;  // every AArch64 processor has it
#endif
  return std::strcmp(isa, "baseline") == 0;
}

int rank(const char* isa) {
  int i = 0;
  for (const char* name : kOrder) {
    if (std::strcmp(name, isa) == 0) return i;
    ++i;
  }
  return -1;
}

/// NODE_FLASH_ATTENTION_ISA=avx2|neon|baseline keeps stronger instruction sets from being used; other values count for nothing.
int strongest_allowed() {
  const char* wish = std::getenv("NODE_FLASH_ATTENTION_ISA");
  const int wished = wish ? rank(wish) : -1;
  return wished < 0 ? 0 : wished;
}

}  // namespace

const char* isa_missing(const char* isa) {
  static const int allowed = strongest_allowed();
  if (!processor_has(isa))
    return std::strcmp(isa, "avx512") == 0 ? "needs AVX-512, which this processor lacks" : "needs AVX2 with FMA and F16C, which this processor lacks";
  if (rank(isa) < allowed) return "turned off by NODE_FLASH_ATTENTION_ISA";
  return nullptr;
}

const char* isa_in_use() {
  for (const char* isa : kOrder) {
    if (!isa_missing(isa)) return isa;
  }
  return "baseline";
}

}  // namespace attn::cpu
