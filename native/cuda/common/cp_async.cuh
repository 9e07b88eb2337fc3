#pragma once
// Copies from global to shared memory that run beside the arithmetic. PTX ISA, "cp.async".

#include <cstdint>

namespace attn::cuda {

__device__ inline std::uint32_t shared_address(const void* pointer) { return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer)); }

/// 16 bytes, past the L1 cache; zeros (and no read, so that `global` may lie outside of the tensor) where `valid` is false.
__device__ inline void cp_async_16(std::uint32_t shared, const void* global, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
}

__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Until at most kPending of this thread's newest groups are on their way. Other threads' copies need a barrier after it.
template <int kPending>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace attn::cuda
