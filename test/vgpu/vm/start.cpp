// Clusters, blocks and warps before their first instruction. What they own is used again by the next ones.
#include <algorithm>

#include "async.h"
#include "runner.h"
#include "wgmma.h"

namespace vgpu {
namespace {

void start_block(const Launch& launch, Cluster& cluster, u32 cluster_index, u32 rank) {
  Block& block = *cluster.blocks[rank];
  u32 left = cluster_index;
  u32 in_cluster = rank;
  for (int n = 0; n < 3; n++) {
    const u32 clusters = launch.grid[n] / launch.cluster[n];
    block.coordinates[n] = left % clusters * launch.cluster[n] + in_cluster % launch.cluster[n];
    left /= clusters;
    in_cluster /= launch.cluster[n];
  }
  block.launch = cluster.launch;
  block.cluster = &cluster;
  block.rank = rank;
  block.index = block.coordinates[0] + launch.grid[0] * (block.coordinates[1] + launch.grid[1] * block.coordinates[2]);
  block.shared.assign(launch.shared_bytes, 0xff);
  block.shadow.assign(launch.shared_bytes, {});
  block.reads.assign(launch.checks ? static_cast<std::size_t>(launch.shared_bytes + 1) / 2 * cluster.num_warps : 0, 0);
  if (cluster.num_groups != 0) {
    const u32 sixteens = (launch.shared_bytes + 15) / 16;
    block.async_reads.assign(static_cast<std::size_t>(sixteens) * cluster.num_groups, 0);
    block.swizzles.assign(sixteens, static_cast<u8>(Swizzle::kUnknown));
    block.mbarriers.clear();
    block.mbarrier_at.assign(2 * sixteens, 0);
  }
  std::fill(std::begin(block.barriers), std::end(block.barriers), Barrier{});
  block.epoch = block.fenced = block.proxy_fenced = 0;
  block.seen.clear();
  block.warpgroups.clear();
  for (u32 n = 0; n < cluster.num_groups / static_cast<u32>(cluster.blocks.size()); n++) block.warpgroups.push_back(std::make_shared<Warpgroup>());
}

void start_warp(Block& block, u32 n, u32 threads, bool fresh) {
  Warp& w = block.warps[n];
  const Function& f = *block.launch->function;
  w.block = &block;
  w.index = static_cast<int>(n);
  w.component = block.rank * static_cast<u32>(block.warps.size()) + n;
  w.started = threads - 32 * n >= 32 ? kAllLanes : (u32{1} << (threads - 32 * n)) - 1;
  w.exited = 0;
  w.state = WarpState::kReady;
  w.splits = {{0, w.started}};
  w.clock.assign(block.cluster->arrivals.size(), 0);
  w.clock[w.component] = 1;
  w.synced = 1;
  w.acquired.clear();
  w.acquired_lanes = w.touched = 0;
  w.fenced.clear();
  w.partial_fences.clear();
  w.proxy_fence.reset();
  w.copies.clear();
  w.bulk_stores.clear();
  std::fill(w.bulk_groups, w.bulk_groups + 32, 0);
  w.products.reset();
  if (block.cluster->num_groups != 0) {
    w.products = std::make_shared<WarpProducts>();
    w.products->registers.resize(f.product_registers);
  }
  std::fill(w.groups, w.groups + 32, 0);
  w.local.assign(std::size_t{32} * f.local_bytes, 0xff);
  w.local_initialised.assign(std::size_t{32} * f.local_bytes, 0);
  w.backward = 0;
  w.cluster_phase = 0;
  if (fresh) w.registers.assign(f.slots.size() * 32, 0xffffffffffffffff);
  for (u32 slot = 0; slot < f.slots.size(); slot++) {
    const Slot& s = f.slots[slot];
    if (s.kind == SlotKind::kRegister) continue;
    if (s.kind != SlotKind::kSpecial && !fresh) continue;
    if (s.kind == SlotKind::kSpecial && (s.name.starts_with("%tid") || s.name.starts_with("%lane"))) {
      for (u32 l = 0; l < 32; l++) w.reg(slot)[l] = special_register(block, n, l, s.name);
    } else {
      const u64 value = s.kind == SlotKind::kSpecial ? special_register(block, n, 0, s.name) : s.value;
      std::fill(w.reg(slot), w.reg(slot) + 32, value);
    }
  }
}

}  // namespace

void start_cluster(Launch& launch, Cluster& cluster, u32 index) {
  const bool fresh = cluster.blocks.empty();
  const u32 threads = launch.block[0] * launch.block[1] * launch.block[2];
  const u32 num_warps = (threads + 31) / 32;
  const u32 size = launch.cluster[0] * launch.cluster[1] * launch.cluster[2];
  cluster.launch = &launch;
  cluster.num_warps = num_warps * size;
  cluster.num_groups = launch.function->asynchronous ? (num_warps + 3) / 4 * size : 0;
  const u32 components = cluster.num_groups == 0 ? cluster.num_warps : cluster.group_component(cluster.num_groups) + 2 * kMaxMbarriers;
  cluster.clock.assign(components, 0);
  cluster.in_flight.clear();
  cluster.progress = cluster.polls = cluster.polled_at = 0;
  cluster.arrived = cluster.phase = cluster.num_mbarriers = 0;
  cluster.arrivals.assign(components, 0);
  cluster.completed.assign(components, 0);
  if (fresh) {
    for (u32 rank = 0; rank < size; rank++) cluster.blocks.push_back(std::make_unique<Block>());
  }
  for (u32 rank = 0; rank < size; rank++) start_block(launch, cluster, index, rank);
  cluster.random.seed(launch.seed * 0x9e3779b97f4a7c15 + cluster.blocks[0]->index);
  for (auto& block : cluster.blocks) {
    block->warps.resize(num_warps);
    for (u32 n = 0; n < num_warps; n++) start_warp(*block, n, threads, fresh);
  }
}

}  // namespace vgpu
