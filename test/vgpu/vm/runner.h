// The parts of the scheduler that have files of their own.
#pragma once
#include "warp.h"

namespace vgpu {

/// Throws std::runtime_error for one that is not known.
u64 special_register(const Block& block, u32 warp, u32 lane, const std::string& name);

/// The `index`-th cluster of the launch, in the place of one that has ended or that is new.
void start_cluster(Launch& launch, Cluster& cluster, u32 index);

/// Reports that no warp of the cluster can go on and nothing is in flight: who waits for what.
[[noreturn]] void report_deadlock(Cluster& cluster);

/// Wakes the warps whose barriers are complete: bar.sync of each block, barrier.cluster.
void release_barriers(Block& block);
void release_cluster(Cluster& cluster);

}  // namespace vgpu
