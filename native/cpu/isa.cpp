#include "cpu/isa.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace attn::cpu {
namespace {

#define ATTN_QUOTED(isa) #isa,
constexpr const char* kOrder[] = {ATTN_FOR_EACH_BF16_ISA(ATTN_QUOTED) ATTN_FOR_EACH_ISA(ATTN_QUOTED)};
constexpr const char* kWhole[] = {ATTN_FOR_EACH_ISA(ATTN_QUOTED)};
#undef ATTN_QUOTED

bool is(const char* isa, const char* name) { return std::strcmp(isa, name) == 0; }

#if defined(__x86_64__)
/// By hand: clang's __builtin_cpu_supports does not know this one.
bool has_f16c() {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/// Tiles and their products of bfloat16: CPUID leaf 7, EDX bits 24 and 22.
bool has_amx() {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 1) && (d >> 22 & 1);
}

/// Linux saves tiles for processes that asked; all threads of the process may use them from then on.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool is_intel() {
  unsigned a, b, c, d;
  return __get_cpuid(0, &a, &b, &c, &d) && b == signature_INTEL_ebx;
}
#endif

const char* const kWish = std::getenv("NODE_FLASH_ATTENTION_ISA");

int rank(const char* isa) {
  int i = 0;
  for (const char* name : kOrder) {
    if (is(isa, name)) return i;
    ++i;
  }
  return -1;
}

/// NODE_FLASH_ATTENTION_ISA=avx512bf16|avx512|avx2|neon|baseline keeps stronger instruction sets from being used; values unknown here count for nothing.
int strongest_allowed() {
  const int wished = kWish ? rank(kWish) : -1;
  return wished < 0 ? 0 : wished;
}

const char* needs(const char* isa) {
  if (is(isa, "amx")) return "needs AMX with bfloat16, which this processor or system lacks";
  if (is(isa, "avx512bf16")) return "needs AVX-512 with bfloat16, which this processor lacks";
  if (is(isa, "avx512")) return "needs AVX-512, which this processor lacks";
  return "needs AVX2 with FMA and F16C, which this processor lacks";
}

}  // namespace

bool processor_has(const char* isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (is(isa, "amx")) {
    static const bool usable = processor_has("avx512bf16") && has_amx() && may_use_tiles();
    return usable;
  }
  if (is(isa, "avx512bf16")) return processor_has("avx512") && __builtin_cpu_supports("avx512bf16");
  if (is(isa, "avx512")) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
  if (is(isa, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
#elif defined(__aarch64__)
  if (is(isa, "neon")) return true;  // every AArch64 processor has it
#endif
  return is(isa, "baseline");
}

const char* isa_missing(const char* isa) {
  static const int allowed = strongest_allowed();
  if (!processor_has(isa)) return needs(isa);
  if (rank(isa) < allowed) return "turned off by NODE_FLASH_ATTENTION_ISA";
#if defined(__x86_64__)
  // Measured on Sapphire Rapids: a dot product of pairs takes four times as long as a multiply-add.
  if (is(isa, "avx512bf16") && is_intel() && !(kWish && is(kWish, isa))) {
    return "is slower than float32 on Intel's processors; NODE_FLASH_ATTENTION_ISA=avx512bf16 insists";
  }
#endif
  return nullptr;
}

const char* isa_in_use() {
  for (const char* isa : kWhole) {
    if (!isa_missing(isa)) return isa;
  }
  return "baseline";
}

}  // namespace attn::cpu
