// What one launch moved and computed. Deterministic: counts, never time.
#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace vgpu {

struct AllocationTraffic {
  std::uint64_t loaded_bytes = 0;
  std::uint64_t unique_loaded_bytes = 0;
  std::uint64_t stored_bytes = 0;
  std::uint64_t unique_stored_bytes = 0;
};

struct Counters {
  std::uint64_t warp_instructions = 0;
  std::uint64_t global_loaded_bytes = 0;  // cp.async among them
  std::uint64_t global_stored_bytes = 0;
  std::uint64_t global_sectors = 0;  // 32-byte pieces touched, summed over warp instructions
  std::uint64_t cp_async_bytes = 0;
  std::uint64_t shared_phases = 0;  // groups of lanes served together: 32 at 4 bytes or less, 16 at 8, 8 at 16
  std::uint64_t shared_ways = 0;    // cycles those phases take; equal to the phases when nothing conflicts
  std::uint64_t mma_flops = 0;
  std::uint64_t wgmmas = 0;  // of whole warpgroups
  std::uint64_t wgmma_flops = 0;
  std::uint64_t barriers = 0;
  std::uint64_t tma_copies = 0;                        // bulk copies and tensor copies, in both directions
  std::uint64_t tma_bytes = 0;                         // of whole boxes, as mbarriers count them; what memory moved is among the global bytes
  std::uint64_t mbarrier_waits = 0;                    // that succeeded
  std::map<std::string, std::uint64_t> instructions;   // by opcode without modifiers, per warp
  std::map<std::uint64_t, AllocationTraffic> traffic;  // by base address
};

}  // namespace vgpu
