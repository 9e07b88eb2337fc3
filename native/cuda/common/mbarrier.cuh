#pragma once
// Barriers in shared memory that count arrivals and bytes of TMA copies. PTX ISA, "mbarrier".
// A phase ends when `count` threads arrived and all bytes that were expected have come; waits name a phase by its parity: a fresh barrier
// is in phase 0, so a wait for parity 0 ends with the first phase and one for parity 1 at once.

#include <cstdint>

namespace attn::cuda {

__device__ __forceinline__ void mbarrier_init(std::uint32_t barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}

/// Release: what this thread did before is seen by those who wait.
__device__ __forceinline__ void mbarrier_arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// One arrival, and `bytes` of copies that belong to the same phase. Comes before the copies.
__device__ __forceinline__ void mbarrier_arrive_expect_tx(std::uint32_t barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

/// Bytes without an arrival.
__device__ __forceinline__ void mbarrier_expect_tx(std::uint32_t barrier, int bytes) {
  asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

/// Arrives on the barrier at the same address of block `rank` of the cluster.
__device__ __forceinline__ void mbarrier_arrive_cluster(std::uint32_t barrier, std::uint32_t rank) {
  std::uint32_t remote;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(barrier), "r"(rank));
  asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(remote) : "memory");
}

/// The arrival of this thread's cp.async copies so far, when they are there.
__device__ __forceinline__ void mbarrier_arrive_copies(std::uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

__device__ __forceinline__ bool mbarrier_try_wait(std::uint32_t barrier, int parity) {
  std::uint32_t done;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
      "selp.u32 %0, 1, 0, p;\n"
      "}"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}

/// The same without a pause: try_wait may let the thread rest for a while.
__device__ __forceinline__ bool mbarrier_test_wait(std::uint32_t barrier, int parity) {
  std::uint32_t done;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "mbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\n"
      "selp.u32 %0, 1, 0, p;\n"
      "}"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}

/// Until the phase of that parity is over. Acquire: sees what came before the arrivals, and the copies.
__device__ __forceinline__ void mbarrier_wait(std::uint32_t barrier, int parity) {
  while (!mbarrier_try_wait(barrier, parity)) {
  }
}

/// Where a ring of kStages stands: `parity` is that of the phase in which stage `index` is filled.
template <int kStages>
struct RingPosition {
  int index = 0, parity = 0;

  __device__ __forceinline__ void advance() {
    if (++index == kStages) {
      index = 0;
      parity ^= 1;
    }
  }
};

}  // namespace attn::cuda
