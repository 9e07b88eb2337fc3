// Barriers that complete, and warps that wait for ever. PTX ISA 9.7.13.1 "barrier", 9.7.13.4 "barrier.cluster".
#include <algorithm>
#include <bit>

#include "runner.h"

namespace vgpu {

void complete_barrier(Block& block, int id) {
  for (Warp& w : block.warps) {
    if (w.state != WarpState::kBarrier || w.barrier != id) continue;
    join(w.clock, block.barriers[id].clock);
    w.state = WarpState::kReady;
  }
  block.barriers[id] = Barrier{};
  block.cluster->progress++;
}

void release_barriers(Block& block) {
  u32 threads = 0;
  for (const Warp& w : block.warps) threads += w.state == WarpState::kDone ? 0 : 32;
  for (int id = 0; id < 16; id++) {
    const Barrier& b = block.barriers[id];
    if (b.arrived == 0 || b.arrived < (b.expected == 0 ? threads : b.expected)) continue;
    complete_barrier(block, id);
  }
}

/// All threads of the cluster that have not exited must arrive.
void release_cluster(Cluster& cluster) {
  if (cluster.arrived == 0) return;
  u32 threads = 0;
  for (const auto& block : cluster.blocks) {
    for (const Warp& w : block->warps) threads += static_cast<u32>(std::popcount(w.live()));
  }
  if (cluster.arrived < threads) return;
  cluster.completed = cluster.arrivals;
  std::fill(cluster.arrivals.begin(), cluster.arrivals.end(), 0);
  cluster.arrived = 0;
  cluster.phase++;
  cluster.progress++;
}

void report_deadlock(Cluster& cluster) {
  const Launch& launch = *cluster.launch;
  const auto& code = launch.function->code;
  std::string text;
  bool waits_for_registers = false;  // for more than the block's pool will ever have
  for (const auto& block : cluster.blocks) {
    if (cluster.blocks.size() > 1) text += "  block " + std::to_string(block->rank) + " of the cluster:\n";
    for (const Warp& w : block->warps) {
      text += "  warp " + std::to_string(w.index) + ": ";
      if (w.state == WarpState::kDone) {
        text += "has exited\n";
      } else if (w.state == WarpState::kBarrier) {
        text += "waits at barrier " + std::to_string(w.barrier) + ", " + where(launch, code[w.splits[0].pc - 1]) + "\n";
      } else {
        for (const Split& split : w.splits) waits_for_registers |= code[split.at].opcode == "setmaxnreg";
        for (const Split& split : w.splits) text += "lanes " + hex(split.lanes) + " wait at " + where(launch, code[split.at]) + "\n";
      }
    }
    for (const Mbarrier& b : block->mbarriers) {
      if (!b.live) continue;
      text += "  mbarrier at shared + " + hex(b.address) + ": phase " + std::to_string(b.phase) + ", " + std::to_string(b.pending) + " of " +
              std::to_string(b.expected) + " arrivals and " + std::to_string(b.tx_bytes) + " bytes of copies are missing\n";
    }
  }
  for (const auto& block : cluster.blocks) {
    for (Warp& w : block->warps) {
      if (w.state == WarpState::kDone) continue;
      const u32 at = w.state == WarpState::kBarrier ? w.splits[0].pc - 1 : w.splits[0].at;
      const FindingKind kind = waits_for_registers ? FindingKind::kRegisterCount : FindingKind::kDeadlock;
      report(kind, w, code[at], w.live(), "no warp of the block can go on:\n" + text);
    }
  }
  throw std::runtime_error("a deadlock without a waiting warp");
}

}  // namespace vgpu
