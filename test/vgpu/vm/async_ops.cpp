// Fences of the async proxy, clusters, and what else only newer devices have. PTX ISA 9.7.13.3 to 9.7.13.5, 9.7.9.24 "mapa".
#include <algorithm>
#include <bit>

#include "bulk.h"
#include "lanes.h"

namespace vgpu {
namespace {

// flags: 1 shared memory, 2 global memory
void fence_proxy(Warp& w, const Instruction& i, u32 lanes) {
  Block& block = *w.block;
  const u32 own = w.clock[w.component];
  if ((i.flags & 1) != 0) {
    const Cluster& cluster = *block.cluster;
    if (lanes == w.live()) {
      w.clock[cluster.fence_component(w.component)] = own + 1;
    } else {
      w.clock[cluster.partial_fence_component(w.component)] = own + 1;
      w.partial_fences.emplace_back(own + 1, lanes);
    }
    fence_mbarrier_inits(w);
  }
  if ((i.flags & 2) != 0) block.proxy_fenced = ++block.epoch;
  w.clock[w.component]++;
  w.proxy_fence = std::make_shared<const std::vector<u32>>(w.clock);
}

void fence_inits(Warp& w, const Instruction&, u32) {
  fence_mbarrier_inits(w);
  w.clock[w.component]++;
  w.fenced = w.clock;
}

// flags: 1 relaxed
void cluster_arrive(Warp& w, const Instruction& i, u32 lanes) {
  require_lanes(w, i, lanes, w.live(), FindingKind::kBarrier, "the warp has diverged: the other lanes are elsewhere");
  Cluster& cluster = *w.block->cluster;
  if (w.cluster_phase != 0) report(FindingKind::kBarrier, w, i, lanes, "the warp arrives again without barrier.cluster.wait");
  w.clock[w.component]++;
  join(cluster.arrivals, i.flags != 0 ? w.fenced : w.clock);
  cluster.arrived += static_cast<u32>(std::popcount(lanes));
  w.cluster_phase = cluster.phase + 1;
  cluster.progress++;
  w.block->launch->counters->barriers++;
}

void cluster_wait(Warp& w, const Instruction& i, u32 lanes) {
  require_lanes(w, i, lanes, w.live(), FindingKind::kBarrier, "the warp has diverged: the other lanes are elsewhere");
  Cluster& cluster = *w.block->cluster;
  if (w.cluster_phase == 0) report(FindingKind::kBarrier, w, i, lanes, "barrier.cluster.wait without an arrive");
  if (cluster.phase < w.cluster_phase) throw NotYet{};
  w.cluster_phase = 0;
  join(w.clock, cluster.completed);
  sync_lanes(w);
}

// kind: 1 of a 32-bit address in the shared window, 0 of a generic one
void map_address(Warp& w, const Instruction& i, u32 lanes) {
  for_lanes(lanes, [&](int l) {
    const u64 window = i.kind != 0 ? 0 : kSharedWindow;
    const u64 rank = v32(w, i, 2, l);
    if (rank >= w.block->cluster->blocks.size())
      report(FindingKind::kOutOfBounds, w, i, u32{1} << l,
             "rank " + std::to_string(rank) + " of a cluster of " + std::to_string(w.block->cluster->blocks.size()));
    const u64 offset = (source(w, i, 1)[l] + static_cast<u64>(i.offset) - window) & ((u64{1} << kRankShift) - 1);
    target(w, i)[l] = window + (offset | (rank + 1) << kRankShift);
  });
}

void rank_of(Warp& w, const Instruction& i, u32 lanes) {
  for_lanes(lanes, [&](int l) {
    const u64 address = source(w, i, 1)[l] - (i.kind != 0 ? 0 : kSharedWindow);
    const u32 above = static_cast<u32>(address) >> kRankShift;
    target(w, i)[l] = above == 0 ? w.block->rank : above - 1;
  });
}

void nothing(Warp&, const Instruction&, u32) {}

}  // namespace

bool decode_async(Instruction& i, const std::vector<std::string>& parts) {
  const auto has = [&](const char* part) { return std::find(parts.begin() + 1, parts.end(), part) != parts.end(); };
  const std::string& op = parts[0];
  if (op == "mbarrier") return decode_mbarrier(i, parts);
  if (op == "cp") return decode_bulk(i, parts);
  if (op == "griddepcontrol") {  // launches do not overlap here
    i.run = nothing;
    return has("wait") || has("launch_dependents");
  }
  if (op == "mapa" || op == "getctarank") {
    i.kind = has("shared::cluster");
    i.run = op == "mapa" ? map_address : rank_of;
    return true;
  }
  if (op == "prefetch") {
    i.kind = has("param");
    i.run = prefetch_map;
    return has("tensormap") && i.operands.size() == 1;
  }
  if (op == "barrier") {
    if (!has("cluster")) return false;
    i.flags = has("relaxed");
    i.run = has("arrive") ? cluster_arrive : cluster_wait;
    return has("arrive") || has("wait");
  }
  if (op == "fence" && has("mbarrier_init")) {
    i.run = fence_inits;
    return parts == std::vector<std::string>{"fence", "mbarrier_init", "release", "cluster"};
  }
  if (op == "fence" && parts.size() >= 3 && parts[1] == "proxy" && parts[2] == "async") {
    const bool all = parts.size() == 3;
    i.flags = all ? 3 : has("global") ? 2 : has("shared::cta") || has("shared::cluster") ? 1 : 0;
    i.run = fence_proxy;
    return parts.size() <= 4 && i.flags != 0;
  }
  return false;
}

}  // namespace vgpu
