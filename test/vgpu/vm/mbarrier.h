// An mbarrier object. PTX ISA 9.7.13.15 "mbarrier". What the 8 bytes in shared memory hold is nobody's business: the object is kept beside them.
#pragma once
#include <cstdint>
#include <vector>

namespace vgpu {

struct Instruction;

constexpr std::uint32_t kMaxMbarriers = 96;  // of a cluster: as many have two components in its clocks

/// A phase is complete when no arrival and no byte of a copy is missing; then the next one begins with the full count.
struct Mbarrier {
  std::uint32_t address = 0;
  bool live = false;
  std::uint64_t phase = 0;  // those completed
  std::uint32_t expected = 0;
  std::uint32_t pending = 0;
  std::int64_t tx_bytes = 0;  // copies may complete before they are expected
  // The order of events: what arrivals of the present phase have released, and what those of the last one had. One clock for all phases would let a waiter
  // acquire arrivals of the next phase.
  std::vector<std::uint32_t> arrivals;
  std::vector<std::uint32_t> completed;
  std::uint32_t component = 0;    // of the copies that it counts; the next one says how many phases are known to be over
  std::uint32_t initialiser = 0;  // warp
  std::uint32_t init_clock = 0;
  std::uint32_t fence_clock = 0;      // 0: no fence has followed
  std::vector<std::uint64_t> waited;  // per warp of the cluster: phases it has waited for
  const Instruction* init = nullptr;
};

}  // namespace vgpu
