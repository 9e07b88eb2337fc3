// Runs one grid.
#pragma once
#include "counters.h"
#include "finding.h"
#include "memory.h"
#include "program.h"

namespace vgpu {

struct LaunchShape {
  std::uint32_t grid[3];
  std::uint32_t block[3];
  std::uint32_t dynamic_shared;
  std::uint32_t cluster[3] = {1, 1, 1};  // blocks that run together
};

/// Throws the first Finding; memory stays as it was then.
void launch(const Function& function, const LaunchShape& shape, const std::uint8_t* params, GlobalMemory& memory, std::uint64_t seed, bool checks,
            Counters& counters);

}  // namespace vgpu
