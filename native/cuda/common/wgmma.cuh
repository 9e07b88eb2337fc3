#pragma once
// Tensor core products of one warpgroup. PTX ISA, "wgmma.mma_async".
//   d [64 x N, float32] (+)= a [64 x K] · b [K x N],  K = 16 for 16-bit elements and 32 for e4m3
// d: warp w of the four owns rows 16w … 16w + 15; with group = lane / 4, pair = lane % 4, for each eight columns n
//   d[4n], d[4n + 1] (row group, columns 8n + 2·pair + {0, 1}), d[4n + 2], d[4n + 3] (row group + 8)
// a in registers: as in mma.m16n8k16 (mma.cuh); e4m3 has 4 elements where 16-bit types have 2.
// Between wgmma_fence() and the wait nobody may touch d, nor a's registers; shared memory that others wrote needs fence_async_shared().

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "cuda/common/elements.cuh"
#include "cuda/common/wgmma_operands.h"

namespace attn::cuda {

/// A tile in shared memory as TMA leaves boxes of W = 128 or 64 bytes width, swizzled as wide: eight rows repeat a pattern, from an address that is a
/// multiple of 8 W, and 16-byte chunk c of row r lies at
///   W = 128: r · 128 + ((c ^ r) % 8) · 16      W = 64: r · 64 + ((c ^ r / 2) % 4) · 16
/// kept as K-major (a, b: a row is one row of a, or one column of b, W bytes of k): eight rows are 8 W bytes, the next eight follow;
/// a step of 32 bytes in k is 32 bytes in the address, the next W bytes of k are the next box.
/// kept as N-major (b transposed: a row is one k, W bytes of columns): eight k are 8 W bytes, the next eight follow, the next W bytes of columns are
/// `column_bytes` away; a step of 16 k is 16 W bytes.
template <int kBoxBytes>
__device__ __forceinline__ std::uint64_t wgmma_descriptor(std::uint32_t address, int column_bytes) {
  static_assert(kBoxBytes == 128 || kBoxBytes == 64);
  constexpr std::uint64_t kSwizzle = std::uint64_t{kBoxBytes == 128 ? 1 : 2} << 62, kGroup = std::uint64_t{8 * kBoxBytes >> 4} << 32;
  return kSwizzle | kGroup | (std::uint64_t{static_cast<std::uint32_t>(column_bytes) >> 4} << 16) | ((address & 0x3ffffu) >> 4);
}
template <int kBoxBytes = 128>
__device__ __forceinline__ std::uint64_t wgmma_k_major(std::uint32_t address) {
  return wgmma_descriptor<kBoxBytes>(address, 16);
}
template <int kBoxBytes = 128>
__device__ __forceinline__ std::uint64_t wgmma_n_major(std::uint32_t address, int column_bytes) {
  return wgmma_descriptor<kBoxBytes>(address, column_bytes);
}

/// Registers and shared memory written before are there for the wgmma that follow.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Until at most kPending groups are under way.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

/// Keeps the compiler from moving reads and writes of these registers across: it knows nothing of products under way.
template <int kCount>
__device__ __forceinline__ void wgmma_hold(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
template <int kCount>
__device__ __forceinline__ void wgmma_hold(std::uint32_t (&a)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(a[i])::"memory");
}

/// Wgmma<T, N>::ss(d, a, b, add) and ::rs(d, a0 … a3, b, add); `add` false: d is overwritten. kTransposed: b lies N-major.
template <class T, int kN>
struct Wgmma;

// ATTN_WGMMA(type of elements, its name, k, N, N / 16, N / 2 and the numbers after it, what follows the signs of a and b: transpositions)
#define ATTN_WGMMA_FORMS(T, type, k, n, eighths, r0, r1, r2, r3, r4, r5, r6, ss_tail, rs_tail)                                                            \
  template <>                                                                                                                                             \
  struct Wgmma<T, n> {                                                                                                                                    \
    template <bool kTransposed = false>                                                                                                                   \
    static __device__ __forceinline__ void ss(float (&d)[n / 2], std::uint64_t a, std::uint64_t b, bool add) {                                           \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #r2 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k" #k ".f32." type "." type                     \
                   " {" ATTN_WGMMA_TEXT_##eighths "}, %" #r0 ", %" #r1 ", p, 1, 1" ss_tail(r3) ";\n}"                                                     \
                   : ATTN_WGMMA_REGISTERS_##eighths                                                                                                       \
                   : "l"(a), "l"(b), "r"(static_cast<int>(add)), "n"(kTransposed ? 1 : 0));                                                               \
    }                                                                                                                                                     \
    template <bool kTransposed = false>                                                                                                                   \
    static __device__ __forceinline__ void rs(float (&d)[n / 2], const std::uint32_t* a, std::uint64_t b, bool add) {                                    \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #r5 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k" #k ".f32." type "." type                     \
                   " {" ATTN_WGMMA_TEXT_##eighths "}, {%" #r0 ", %" #r1 ", %" #r2 ", %" #r3 "}, %" #r4 ", p, 1, 1" rs_tail(r6) ";\n}"                     \
                   : ATTN_WGMMA_REGISTERS_##eighths                                                                                                       \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)), "n"(kTransposed ? 1 : 0));                           \
    }                                                                                                                                                     \
  };
// 16-bit types say of a and b whether they are transposed, e4m3 always lies K-major.
#define ATTN_WGMMA_SS_16(r) ", 0, %" #r
#define ATTN_WGMMA_RS_16(r) ", %" #r
#define ATTN_WGMMA_NO_TAIL(r) ""
#define ATTN_WGMMA(n, eighths, r0, r1, r2, r3, r4, r5, r6)                                                                                  \
  ATTN_WGMMA_FORMS(__half, "f16", 16, n, eighths, r0, r1, r2, r3, r4, r5, r6, ATTN_WGMMA_SS_16, ATTN_WGMMA_RS_16)                           \
  ATTN_WGMMA_FORMS(__nv_bfloat16, "bf16", 16, n, eighths, r0, r1, r2, r3, r4, r5, r6, ATTN_WGMMA_SS_16, ATTN_WGMMA_RS_16)                   \
  ATTN_WGMMA_FORMS(e4m3, "e4m3", 32, n, eighths, r0, r1, r2, r3, r4, r5, r6, ATTN_WGMMA_NO_TAIL, ATTN_WGMMA_NO_TAIL)
ATTN_WGMMA(16, 1, 8, 9, 10, 11, 12, 13, 14)
ATTN_WGMMA(32, 2, 16, 17, 18, 19, 20, 21, 22)
ATTN_WGMMA(48, 3, 24, 25, 26, 27, 28, 29, 30)
ATTN_WGMMA(64, 4, 32, 33, 34, 35, 36, 37, 38)
ATTN_WGMMA(80, 5, 40, 41, 42, 43, 44, 45, 46)
ATTN_WGMMA(96, 6, 48, 49, 50, 51, 52, 53, 54)
ATTN_WGMMA(112, 7, 56, 57, 58, 59, 60, 61, 62)
ATTN_WGMMA(128, 8, 64, 65, 66, 67, 68, 69, 70)
ATTN_WGMMA(144, 9, 72, 73, 74, 75, 76, 77, 78)
ATTN_WGMMA(160, 10, 80, 81, 82, 83, 84, 85, 86)
ATTN_WGMMA(176, 11, 88, 89, 90, 91, 92, 93, 94)
ATTN_WGMMA(192, 12, 96, 97, 98, 99, 100, 101, 102)
ATTN_WGMMA(208, 13, 104, 105, 106, 107, 108, 109, 110)
ATTN_WGMMA(224, 14, 112, 113, 114, 115, 116, 117, 118)
ATTN_WGMMA(240, 15, 120, 121, 122, 123, 124, 125, 126)
ATTN_WGMMA(256, 16, 128, 129, 130, 131, 132, 133, 134)
#undef ATTN_WGMMA
#undef ATTN_WGMMA_FORMS

}  // namespace attn::cuda
