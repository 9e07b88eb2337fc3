#pragma once
// wgmma for products whose right side has few columns, a multiple of 8 up to 64, and whose left side may lie transposed: decoding
// multiplies keys by queries and values by probabilities, so that M = 64 is full and N is the number of query rows.
//   d [64 x N, float32] (+)= a [64 x 16] · b [16 x N], b K-major
// Layouts and rules are those of wgmma.cuh. a kept as M-major (a row is one k, 128 bytes of rows of a) is described like b's N-major.

#include "cuda/common/wgmma.cuh"

namespace attn::cuda {

/// ss<kTransposed>(d, a, b, add): kTransposed: a lies M-major. rs(d, a, b, add): a in registers. `add` false: d is overwritten.
template <class T, int kN>
struct WgmmaSwapped;

#define ATTN_WGMMA_TEXT_HALF "%0, %1, %2, %3"
#define ATTN_WGMMA_REGISTERS_HALF "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])

// ATTN_WGMMA(type of elements, its name, N, which operands of wgmma_operands.h, N / 2 and the numbers after it)
#define ATTN_WGMMA(T, type, n, operands, r0, r1, r2, r3, r4, r5)                                                                                           \
  template <>                                                                                                                                              \
  struct WgmmaSwapped<T, n> {                                                                                                                              \
    template <bool kTransposed>                                                                                                                            \
    static __device__ __forceinline__ void ss(float (&d)[n / 2], std::uint64_t a, std::uint64_t b, bool add) {                                             \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #r2 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type                          \
                   " {" ATTN_WGMMA_TEXT_##operands "}, %" #r0 ", %" #r1 ", p, 1, 1, %" #r3 ", 0;\n}"                                                       \
                   : ATTN_WGMMA_REGISTERS_##operands                                                                                                       \
                   : "l"(a), "l"(b), "r"(static_cast<int>(add)), "n"(kTransposed ? 1 : 0));                                                                \
    }                                                                                                                                                      \
    static __device__ __forceinline__ void rs(float (&d)[n / 2], const std::uint32_t (&a)[4], std::uint64_t b, bool add) {                                 \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #r5 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type                          \
                   " {" ATTN_WGMMA_TEXT_##operands "}, {%" #r0 ", %" #r1 ", %" #r2 ", %" #r3 "}, %" #r4 ", p, 1, 1, 0;\n}"                                 \
                   : ATTN_WGMMA_REGISTERS_##operands                                                                                                       \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));                                                      \
    }                                                                                                                                                      \
  };
#define ATTN_WGMMA_BOTH(...) ATTN_WGMMA(__half, "f16", __VA_ARGS__) ATTN_WGMMA(__nv_bfloat16, "bf16", __VA_ARGS__)
ATTN_WGMMA_BOTH(8, HALF, 4, 5, 6, 7, 8, 9)
ATTN_WGMMA_BOTH(16, 1, 8, 9, 10, 11, 12, 13)
ATTN_WGMMA_BOTH(32, 2, 16, 17, 18, 19, 20, 21)
ATTN_WGMMA_BOTH(64, 4, 32, 33, 34, 35, 36, 37)
#undef ATTN_WGMMA_BOTH
#undef ATTN_WGMMA

}  // namespace attn::cuda
