// What asynchronous operations share: who they are in the order of events, and shared memory as the async proxy sees it. PTX ISA 8.6 "Proxies".
//
// An operation is checked with what its issuer knew at the issue, although its reads and writes happen later: whatever was written since, or
// was not ordered before the issue, is a race. Reads of wgmma are those of its warpgroup: one operation of 128 threads, which is over for all
// of them when any of its warps returns from the wait. They have a component of their own in every clock (wgmma_component).
#pragma once
#include "warp.h"

namespace vgpu {

/// The pattern of a tile in shared memory. kUnknown: written by threads, which may follow any.
enum class Swizzle : u8 { kNone, k32, k64, k128, kUnknown };

/// Where the byte of an unswizzled `address` lies: the index of its 16 bytes within the span (32, 64 or 128 bytes) is combined with the number of
/// its row of 128 bytes; both are bits of the address itself, so a pattern begins where the address is a multiple of 256, 512 or 1024.
constexpr u32 swizzled(u32 address, Swizzle mode) {
  const u32 bits = mode == Swizzle::k128 ? 7 : mode == Swizzle::k64 ? 3 : mode == Swizzle::k32 ? 1 : 0;
  return address ^ ((address >> 7 & bits) << 4);
}

/// What the issuer knew. Keep one per operation until it completes. `lane`: which issued it; -1: all of the warp together.
struct AsyncIssue {
  std::vector<u32> clock;
  std::shared_ptr<const std::vector<u32>> proxy_fence;
  u32 synced = 0;
  int lane = -1;
  mutable SharedByte checked{.pending = 1};  // by async_read: a byte with this history is in order; at first one that none has
};
/// Later writes of the warp itself come after it.
inline AsyncIssue issue_async(Warp& w, int lane = -1) {
  AsyncIssue issue{clock_of(w, lane), w.proxy_fence, w.synced, lane, {.pending = 1}};
  w.clock[w.component]++;
  return issue;
}

/// A read by an asynchronous operation of warp `w`, when it completes; `address` is where the bytes lie (swizzled already). Finds what shared_read finds,
/// generic writes without fence.proxy.async, and bytes that a copy laid out with another swizzle than `mode` (kUnknown: any will do).
/// `reader` is the component that the read counts for: w.component or wgmma_component.
const u8* async_read(Warp& w, const Instruction& i, const AsyncIssue& issue, u32 address, u32 bytes, Swizzle mode, u32 reader);

/// An asynchronous access, by whoever knows `clock`, to a byte that a thread wrote: its fence must lie between. Where the writer is a cp.async that an
/// mbarrier counts, nobody but who has waited can fence: `own_fence` is what the issuer knew at its last one.
void check_proxy_fence(Warp& w, const Instruction& i, const std::vector<u32>& clock, const std::vector<u32>* own_fence, const SharedByte& byte, u32 at);

/// A write by anyone (not by the component `except`) to a pair of bytes, or to the 16 bytes with this number, that is not ordered after their reads.
void check_readers(Warp& w, const Instruction& i, const Block& block, int lane, u32 at, u32 except);
void check_async_readers(Warp& w, const Instruction& i, const Block& block, int lane, u32 sixteen);

/// The component of the warpgroup that `w` belongs to.
u32 wgmma_component(const Warp& w);

/// The reads of `component` until now are over: the clock to give to know() of each warp that learns of it (for wgmma: at its own wait_group).
u32 end_reads(Warp& w, u32 component);
inline void know(Warp& w, u32 component, u32 clock) {
  if (w.clock[component] < clock) w.clock[component] = clock;
}

}  // namespace vgpu
