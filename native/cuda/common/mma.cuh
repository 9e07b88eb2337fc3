#pragma once
// Tensor core products of one warp. PTX ISA, "Matrix fragments for mma.m16n8k16": with group = lane / 4, pair = lane % 4,
//   a[0] (row group, columns 2·pair + {0, 1}), a[1] (row group + 8), a[2] (columns + 8), a[3] (both)
//   b[0] (k 2·pair + {0, 1}, column group), b[1] (k + 8)
//   c[0], c[1] (row group, columns 2·pair + {0, 1}), c[2], c[3] (row group + 8)

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace attn::cuda {

/// Four 8 x 8 matrices of 16-bit elements: lane 8i + j gives the address of row j of matrix i. PTX ISA, "ldmatrix".
__device__ inline void ldmatrix_x4(std::uint32_t (&fragments)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
               : "r"(address)
               : "memory");
}

/// Two matrices, whose addresses lanes 0 to 15 give.
__device__ inline void ldmatrix_x2(std::uint32_t (&fragments)[2], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(fragments[0]), "=r"(fragments[1]) : "r"(address) : "memory");
}

/// Four again, each matrix transposed: for operands that lie with k as their rows.
__device__ inline void ldmatrix_x4_transposed(std::uint32_t (&fragments)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
               : "r"(address)
               : "memory");
}

/// Stores two or four matrices of 16-bit elements, each transposed: lane 8i + j gives the address where row j of the transposed matrix i goes; a lane
/// holds elements (row lane / 4, columns 2 · (lane % 4) + {0, 1}) of the matrix itself. sm_90. PTX ISA, "stmatrix".
__device__ inline void stmatrix_x2_transposed(std::uint32_t address, std::uint32_t m0, std::uint32_t m1) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(address), "r"(m0), "r"(m1) : "memory");
}
__device__ inline void stmatrix_x4_transposed(std::uint32_t address, std::uint32_t m0, std::uint32_t m1, std::uint32_t m2, std::uint32_t m3) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(m0), "r"(m1), "r"(m2), "r"(m3) : "memory");
}

/// c += a [16 x 16] · b [16 x 8], float32 sums. The first argument chooses the element type.
__device__ inline void mma_16x8x16(__half, float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ inline void mma_16x8x16(__nv_bfloat16, float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Byte offset of the 16-byte chunk `chunk` of row `row` in a tile whose rows have kRowChunks (4 or a multiple of 8) of them.
/// The exclusive or puts one chunk column of any eight consecutive rows into different banks, and keeps a row's chunks in its row.
template <int kRowChunks>
__device__ inline int swizzled_offset(int row, int chunk) {
  static_assert(kRowChunks == 4 || kRowChunks % 8 == 0);
  const int mixed = kRowChunks == 4 ? chunk ^ ((row >> 1) & 3) : chunk ^ (row & 7);
  return (row * kRowChunks + mixed) * 16;
}

}  // namespace attn::cuda
