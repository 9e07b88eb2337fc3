#pragma once
// Copies of boxes of a tensor between global and shared memory by the tensor memory accelerator. PTX ISA, "cp.async.bulk.tensor".
// One thread issues a copy. Coordinates count elements, fastest axis first; what lies outside the tensor arrives as zeros (counted as
// bytes all the same) and is not stored. Shared addresses are multiples of 128 bytes. A box may begin inside the pattern of its swizzle, such as a single
// row among eight: chunks go where the bits of the address say (CUDA C++ Programming Guide, "Swizzle Pattern Pointer Offset Computation").

#include <cuda.h>

#include <cstdint>

namespace attn::cuda {

/// How long L2 keeps what a copy reads: encoded policies of createpolicy, fixed by the architecture.
enum : std::uint64_t { kEvictNormal = 0x1000000000000000, kEvictFirst = 0x12f0000000000000, kEvictLast = 0x14f0000000000000 };

__device__ __forceinline__ void tma_prefetch_map(const CUtensorMap& map) { asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory"); }

#define ATTN_TMA_FROM "cp.async.bulk.tensor."
#define ATTN_TMA_INTO ".shared::cluster.global.mbarrier::complete_tx::bytes"

/// Box at the coordinates into shared memory; its bytes count on `barrier`.
__device__ __forceinline__ void tma_load(std::uint32_t shared, const CUtensorMap& map, std::uint32_t barrier, int x, int y) {
  asm volatile(ATTN_TMA_FROM "2d" ATTN_TMA_INTO " [%0], [%1, {%3, %4}], [%2];" ::"r"(shared), "l"(&map), "r"(barrier), "r"(x), "r"(y) : "memory");
}
__device__ __forceinline__ void tma_load(std::uint32_t shared, const CUtensorMap& map, std::uint32_t barrier, int x, int y, int z) {
  asm volatile(ATTN_TMA_FROM "3d" ATTN_TMA_INTO " [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared), "l"(&map), "r"(barrier), "r"(x), "r"(y), "r"(z)
               : "memory");
}
__device__ __forceinline__ void tma_load(std::uint32_t shared, const CUtensorMap& map, std::uint32_t barrier, int x, int y, int z, int w) {
  asm volatile(ATTN_TMA_FROM "4d" ATTN_TMA_INTO " [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared), "l"(&map), "r"(barrier), "r"(x), "r"(y), "r"(z),
               "r"(w)
               : "memory");
}

/// The same with a policy for L2.
__device__ __forceinline__ void tma_load_hinted(std::uint32_t shared, const CUtensorMap& map, std::uint32_t barrier, std::uint64_t policy, int x, int y, int z,
                                                int w) {
  asm volatile(ATTN_TMA_FROM "4d" ATTN_TMA_INTO ".L2::cache_hint [%0], [%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(shared), "l"(&map), "r"(barrier), "r"(x),
               "r"(y), "r"(z), "r"(w), "l"(policy)
               : "memory");
}

/// To the same address in every block of the cluster that `blocks` has a bit for; the bytes count on each one's barrier.
__device__ __forceinline__ void tma_load_multicast(std::uint32_t shared, const CUtensorMap& map, std::uint32_t barrier, std::uint16_t blocks, int x, int y,
                                                   int z, int w) {
  asm volatile(ATTN_TMA_FROM "4d" ATTN_TMA_INTO ".multicast::cluster [%0], [%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(shared), "l"(&map), "r"(barrier),
               "r"(x), "r"(y), "r"(z), "r"(w), "h"(blocks)
               : "memory");
}

#undef ATTN_TMA_FROM
#undef ATTN_TMA_INTO

/// From shared memory to the box at the coordinates. After fence_async_shared() of the writers and a barrier.
__device__ __forceinline__ void tma_store(const CUtensorMap& map, std::uint32_t shared, int x, int y, int z, int w) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(&map), "r"(shared), "r"(x), "r"(y), "r"(z), "r"(w)
               : "memory");
}

/// `bytes` in one piece, a multiple of 16 as both addresses are.
__device__ __forceinline__ void bulk_load(std::uint32_t shared, const void* global, int bytes, std::uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared), "l"(__cvta_generic_to_global(global)),
               "r"(bytes), "r"(barrier)
               : "memory");
}
__device__ __forceinline__ void bulk_store(void* global, std::uint32_t shared, int bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(__cvta_generic_to_global(global)), "r"(shared), "r"(bytes) : "memory");
}

/// This thread's stores so far become a group.
__device__ __forceinline__ void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

/// Until at most kPending of this thread's groups still read shared memory.
template <int kPending>
__device__ __forceinline__ void bulk_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}
/// Until at most kPending of them are still to be written.
template <int kPending>
__device__ __forceinline__ void bulk_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace attn::cuda
