// Blocks, warps and splits: who runs when. Orders that CUDA does not promise come from the seed.
//
// A warp is a list of splits (pc, lanes). The one with the lowest pc runs, and splits at the same pc become one; so lanes meet again
// where their paths do. A split that jumps backwards very often lets the others run: they may be what it waits for. A split whose poll of a barrier failed
// rests until something has happened, and one at an instruction that wants all lanes until they have come. Copies land when no warp can go on.
#include "launch.h"

#include <algorithm>
#include <bit>
#include <deque>

#include "async.h"
#include "wgmma.h"
#include "runner.h"

namespace vgpu {
namespace {

constexpr u32 kSpinJumps = 1 << 16;      // backward jumps of one split after which another runs
constexpr u64 kBlockSlice = 1ull << 26;  // warp instructions of a cluster before others run
constexpr u64 kPatience = 1ull << 20;    // warp instructions without progress after which a copy lands although warps still run: they may spin for it
constexpr u32 kPolls = 256;              // rounds of polls in vain, with nothing in flight, after which it is a deadlock

class Runner {
 public:
  Runner(Launch& launch, std::vector<u64>& executed) : launch_(launch), executed_(executed), code_(launch.function->code) {}

  /// Runs a slice; true: the blocks are finished.
  bool run(Cluster& cluster) {
    u64 waited = 0;
    for (u64 used = 0; used < kBlockSlice;) {
      Warp* ready[64];
      u32 num_ready = 0;
      bool all_done = true;
      for (auto& block : cluster.blocks) {
        for (Warp& w : block->warps) {
          if (runnable(w)) ready[num_ready++] = &w;
          all_done &= w.state == WarpState::kDone;
        }
      }
      if (all_done) {
        if (!cluster.in_flight.empty() && launch_.checks) cluster.in_flight.front()->unfinished();
        while (!cluster.in_flight.empty()) land_one(cluster);
        return true;
      }
      if (num_ready == 0 || (waited > kPatience && !cluster.in_flight.empty())) {
        waited = 0;
        if (!cluster.in_flight.empty()) {
          land_one(cluster);
        } else {
          poll_again(cluster);
        }
        continue;
      }
      Warp& w = *ready[cluster.random() % num_ready];
      const u64 before = cluster.progress;
      const u64 ran = run_warp(w, 16 + cluster.random() % 512);
      used += ran;
      release_barriers(*w.block);
      if (cluster.arrived != 0) release_cluster(cluster);
      waited = cluster.progress == before ? waited + ran : 0;
    }
    return false;
  }

 private:
  static bool idle(const Warp& w, const Split& s) { return s.idle == w.block->cluster->progress + 1; }

  /// Not at a barrier, and a split of it neither polls in vain nor waits for other lanes; if all wait for each other, the first one reports it.
  static bool runnable(const Warp& w) {
    if (w.state != WarpState::kReady) return false;
    bool any_idle = false;
    for (const Split& s : w.splits) {
      if (!s.waiting && !idle(w, s)) return true;
      any_idle |= !s.waiting;
    }
    return !any_idle;
  }

  /// The split to run: the one with the lowest pc that can, after joining those at the same one.
  std::size_t choose(Warp& w) {
    if (w.splits.size() == 1) {
      w.others_may_come = false;
      return 0;
    }
    std::sort(w.splits.begin(), w.splits.end(), [](const Split& a, const Split& b) { return a.pc < b.pc; });
    for (std::size_t n = 0; n + 1 < w.splits.size();) {
      if (w.splits[n].pc == w.splits[n + 1].pc) {
        w.splits[n].lanes |= w.splits[n + 1].lanes;
        w.splits[n].waiting = false;
        w.splits[n].idle = 0;
        w.splits.erase(w.splits.begin() + static_cast<std::ptrdiff_t>(n) + 1);
      } else {
        n++;
      }
    }
    std::size_t able[32];
    std::size_t num_able = 0;
    std::size_t coming = 0;
    for (std::size_t n = 0; n < w.splits.size(); n++) {
      coming += !w.splits[n].waiting;
      if (!w.splits[n].waiting && !idle(w, w.splits[n])) able[num_able++] = n;
    }
    if (num_able == 0) {
      w.others_may_come = coming != 0;
      return 0;
    }
    w.others_may_come = w.splits.size() > 1 && coming > 1;
    if (w.backward > kSpinJumps && num_able > 1) return able[1 + w.backward / kSpinJumps % (num_able - 1)];
    return able[0];
  }

  u64 run_warp(Warp& w, u64 budget) {
    u64 used = 0;
    while (used < budget && w.state == WarpState::kReady) {
      const std::size_t chosen = choose(w);
      const u32 pc = w.splits[chosen].pc;
      const u32 lanes = w.splits[chosen].lanes;
      const Instruction& i = code_[pc];
      u32 active = lanes;
      if (i.guard != ~0u) {
        const u64* p = w.reg(i.guard);
        u32 mask = 0;
        for (int l = 0; l < 32; l++) mask |= static_cast<u32>((p[l] & 1) ^ static_cast<u64>(i.guard_negated)) << l;
        active &= mask;
      }
      used++;
      executed_[pc]++;
      w.branch_lanes = 0;
      const u32 exited = w.exited;
      if (active != 0) {
        try {
          if (i.touches_products) touch_product_registers(w, i, active);
          i.run(w, i, active);
        } catch (const NotConverged&) {
          executed_[pc]--;
          w.splits[chosen].waiting = true;
          if (!runnable(w)) return used;
          continue;
        } catch (const NotYet&) {
          executed_[pc]--;
          if (rest(w, w.splits[chosen], pc)) return used;
          continue;
        }
      }
      Split& split = w.splits[chosen];
      split.pc = pc + 1;
      if (w.polled) {
        w.polled = false;
        if (rest(w, split, pc)) return used;
        continue;
      }
      if (w.branch_lanes != 0) {
        if (i.target <= pc) w.backward++;
        if (w.branch_lanes == lanes) {
          split.pc = i.target;
        } else {
          split.lanes &= ~w.branch_lanes;
          w.splits.push_back({i.target, w.branch_lanes});
        }
      }
      if (w.exited != exited) {
        for (Split& s : w.splits) {
          s.lanes &= ~w.exited;
          s.waiting = false;  // for fewer lanes now
        }
        std::erase_if(w.splits, [](const Split& s) { return s.lanes == 0; });
        if (w.splits.empty()) w.state = WarpState::kDone;
        w.block->cluster->progress++;
      }
    }
    return used;
  }

  /// A poll in vain: nothing to do for this split until there is progress. True: nor for the warp.
  static bool rest(Warp& w, Split& split, u32 pc) {
    split.idle = w.block->cluster->progress + 1;
    split.at = pc;
    return !runnable(w);
  }

  static void land_one(Cluster& cluster) {
    const std::size_t n = cluster.random() % cluster.in_flight.size();
    const std::unique_ptr<AsyncCopy> copy = std::move(cluster.in_flight[n]);
    cluster.in_flight.erase(cluster.in_flight.begin() + static_cast<std::ptrdiff_t>(n));
    copy->land();
    cluster.progress++;
  }

  /// Nothing is in flight and every warp polls in vain or waits: a few more rounds, since a kernel may do something else when a poll fails.
  void poll_again(Cluster& cluster) {
    bool polls = false;
    for (const auto& block : cluster.blocks) {
      for (const Warp& w : block->warps) polls |= w.state == WarpState::kReady;
    }
    cluster.polls = cluster.progress == cluster.polled_at ? cluster.polls + 1 : 0;
    if (!polls || cluster.polls >= kPolls) report_deadlock(cluster);
    cluster.polled_at = ++cluster.progress;
  }

  Launch& launch_;
  std::vector<u64>& executed_;
  const std::vector<Instruction>& code_;
};

}  // namespace

void launch(const Function& function, const LaunchShape& shape, const std::uint8_t* params, GlobalMemory& memory, std::uint64_t seed, bool checks,
            Counters& counters) {
  Launch l;
  l.function = &function;
  std::copy(shape.grid, shape.grid + 3, l.grid);
  std::copy(shape.block, shape.block + 3, l.block);
  l.dynamic_shared = shape.dynamic_shared;
  for (int n = 0; n < 3; n++) l.cluster[n] = std::max(shape.cluster[n], 1u);
  l.shared_bytes = (shape.dynamic_shared == 0 ? (function.static_shared + 15) / 16 * 16 : function.dynamic_offset) + shape.dynamic_shared;
  l.params.assign(params, params + function.param_bytes);
  l.memory = &memory;
  l.counters = &counters;
  l.checks = checks;
  l.seed = seed;
  for (auto& [base, allocation] : memory.all()) {
    allocation->writer.clear();
    allocation->writer_epoch.clear();
    allocation->reader.clear();
    allocation->reader_epoch.clear();
    allocation->touched.clear();
  }
  std::vector<u64> executed(function.code.size(), 0);
  Runner runner(l, executed);

  std::vector<u32> order(static_cast<std::size_t>(l.grid[0]) * l.grid[1] * l.grid[2] / (l.cluster[0] * l.cluster[1] * l.cluster[2]));
  for (u32 n = 0; n < order.size(); n++) order[n] = n;
  std::mt19937_64 random(seed);
  std::shuffle(order.begin(), order.end(), random);

  std::deque<std::unique_ptr<Cluster>> waiting;
  std::unique_ptr<Cluster> spare;
  std::size_t next = 0;
  while (next < order.size() || !waiting.empty()) {
    std::unique_ptr<Cluster> cluster;
    if (next < order.size()) {
      cluster = spare != nullptr ? std::move(spare) : std::make_unique<Cluster>();
      start_cluster(l, *cluster, order[next++]);
    } else {
      cluster = std::move(waiting.front());
      waiting.pop_front();
    }
    if (runner.run(*cluster)) {
      spare = std::move(cluster);
    } else {
      waiting.push_back(std::move(cluster));
    }
  }
  for (std::size_t n = 0; n < executed.size(); n++) {
    if (executed[n] == 0) continue;
    counters.instructions[function.code[n].opcode] += executed[n];
    counters.warp_instructions += executed[n];
  }
}

}  // namespace vgpu
