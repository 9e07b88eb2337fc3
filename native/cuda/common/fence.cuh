#pragma once
// Order between the generic proxy (ld, st, cp.async) and the async proxy (TMA, wgmma), which see shared memory by different ways.
// PTX ISA, "Async proxy" and "membar / fence".

namespace attn::cuda {

/// This thread's generic accesses of shared memory come before later asynchronous ones: after st.shared that TMA stores or wgmma reads,
/// and after ld.shared of what TMA overwrites next. Other threads still need a barrier after it.
__device__ __forceinline__ void fence_async_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// The same for global memory: after st.global that TMA reads in the same kernel.
__device__ __forceinline__ void fence_async_global() { asm volatile("fence.proxy.async.global;" ::: "memory"); }

/// Barriers initialised by this thread are seen as such by other blocks of the cluster and by the async proxy.
__device__ __forceinline__ void fence_barrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

}  // namespace attn::cuda
