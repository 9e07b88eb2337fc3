// Blocks, warps and splits: who runs when. Orders that CUDA does not promise come from the seed.
//
// A warp is a list of splits (pc, lanes). The one with the lowest pc runs, and splits at the same pc become one; so lanes meet again
// where their paths do. A split that jumps backwards very often lets the others run: they may be what it waits for.
#include "launch.h"

#include <algorithm>
#include <bit>
#include <deque>

#include "warp.h"

namespace vgpu {
namespace {

constexpr u32 kSpinJumps = 1 << 16;      // backward jumps of one split after which another runs
constexpr u64 kBlockSlice = 1ull << 26;  // warp instructions of a block before other blocks run

class Runner {
 public:
  Runner(Launch& launch, std::vector<u64>& executed) : launch_(launch), executed_(executed), code_(launch.function->code) {}

  void start(Block& block, u32 index) {
    const bool fresh = block.warps.empty();
    const u32 threads = launch_.block[0] * launch_.block[1] * launch_.block[2];
    const u32 num_warps = (threads + 31) / 32;
    block.launch = &launch_;
    block.index = index;
    block.coordinates[0] = index % launch_.grid[0];
    block.coordinates[1] = index / launch_.grid[0] % launch_.grid[1];
    block.coordinates[2] = index / launch_.grid[0] / launch_.grid[1];
    block.random.seed(launch_.seed * 0x9e3779b97f4a7c15 + index);
    block.shared.assign(launch_.shared_bytes, 0xff);
    block.shadow.assign(launch_.shared_bytes, {});
    block.reads.assign(launch_.checks ? static_cast<std::size_t>(launch_.shared_bytes + 1) / 2 * num_warps : 0, 0);
    std::fill(std::begin(block.barriers), std::end(block.barriers), Barrier{});
    block.epoch = block.fenced = 0;
    block.seen.clear();
    block.warps.resize(num_warps);
    for (u32 n = 0; n < num_warps; n++) start_warp(block, n, threads, fresh);
  }

  /// Runs a slice; true: the block is finished.
  bool run(Block& block) {
    for (u64 used = 0; used < kBlockSlice;) {
      u32 ready[32];
      u32 num_ready = 0;
      bool all_done = true;
      for (const Warp& w : block.warps) {
        if (w.state == WarpState::kReady) ready[num_ready++] = static_cast<u32>(w.index);
        all_done &= w.state == WarpState::kDone;
      }
      if (all_done) return true;
      if (num_ready == 0) deadlock(block);
      Warp& w = block.warps[ready[block.random() % num_ready]];
      used += run_warp(w, 16 + block.random() % 512);
      release_barriers(block);
    }
    return false;
  }

 private:
  void start_warp(Block& block, u32 n, u32 threads, bool fresh) {
    Warp& w = block.warps[n];
    const Function& f = *launch_.function;
    w.block = &block;
    w.index = static_cast<int>(n);
    w.started = threads - 32 * n >= 32 ? kAllLanes : (u32{1} << (threads - 32 * n)) - 1;
    w.exited = 0;
    w.state = WarpState::kReady;
    w.splits = {{0, w.started}};
    w.clock.assign(block.warps.size(), 0);
    w.clock[n] = 1;
    w.copies.clear();
    std::fill(w.groups, w.groups + 32, 0);
    w.local.assign(std::size_t{32} * f.local_bytes, 0xff);
    w.local_initialised.assign(std::size_t{32} * f.local_bytes, 0);
    w.backward = 0;
    if (fresh) w.registers.assign(f.slots.size() * 32, 0xffffffffffffffff);
    for (u32 slot = 0; slot < f.slots.size(); slot++) {
      const Slot& s = f.slots[slot];
      if (s.kind == SlotKind::kRegister) continue;
      if (s.kind != SlotKind::kSpecial && !fresh) continue;
      for (u32 l = 0; l < 32; l++) w.reg(slot)[l] = s.kind == SlotKind::kSpecial ? special(block, n, l, s.name) : s.value;
    }
  }

  u64 special(const Block& block, u32 warp, u32 lane, const std::string& name) const {
    const u32 thread = warp * 32 + lane;
    const auto axis = [&](const char* prefix, const u32(&values)[3], u64& out) {
      for (int n = 0; n < 3; n++) {
        if (name == std::string(prefix) + "xyz"[n]) {
          out = values[n];
          return true;
        }
      }
      return false;
    };
    const u32 tid[3] = {thread % launch_.block[0], thread / launch_.block[0] % launch_.block[1], thread / launch_.block[0] / launch_.block[1]};
    u64 out = 0;
    if (axis("%tid.", tid, out) || axis("%ntid.", launch_.block, out) || axis("%ctaid.", block.coordinates, out) || axis("%nctaid.", launch_.grid, out))
      return out;
    if (name == "%laneid") return lane;
    if (name == "%warpid") return warp;
    if (name == "%nwarpid") return block.warps.size();
    if (name == "%lanemask_eq") return u32{1} << lane;
    if (name == "%lanemask_lt") return (u32{1} << lane) - 1;
    if (name == "%lanemask_le") return (u64{2} << lane) - 1;
    if (name == "%lanemask_gt") return static_cast<u32>(~((u64{2} << lane) - 1));
    if (name == "%lanemask_ge") return static_cast<u32>(~((u32{1} << lane) - 1));
    if (name == "%dynamic_smem_size") return launch_.dynamic_shared;
    if (name == "_") return 0;
    throw std::runtime_error("PTX: unknown special register " + name);
  }

  /// The split to run: the one with the lowest pc, after joining those at the same one.
  std::size_t choose(Warp& w) {
    if (w.splits.size() == 1) return 0;
    std::sort(w.splits.begin(), w.splits.end(), [](const Split& a, const Split& b) { return a.pc < b.pc; });
    for (std::size_t n = 0; n + 1 < w.splits.size();) {
      if (w.splits[n].pc == w.splits[n + 1].pc) {
        w.splits[n].lanes |= w.splits[n + 1].lanes;
        w.splits.erase(w.splits.begin() + static_cast<std::ptrdiff_t>(n) + 1);
      } else {
        n++;
      }
    }
    if (w.backward > kSpinJumps && w.splits.size() > 1) return 1 + w.backward / kSpinJumps % (w.splits.size() - 1);
    return 0;
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
      if (active != 0) i.run(w, i, active);
      Split& split = w.splits[chosen];
      split.pc = pc + 1;
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
        for (Split& s : w.splits) s.lanes &= ~w.exited;
        std::erase_if(w.splits, [](const Split& s) { return s.lanes == 0; });
        if (w.splits.empty()) w.state = WarpState::kDone;
      }
    }
    return used;
  }

  void release_barriers(Block& block) {
    u32 threads = 0;
    for (const Warp& w : block.warps) threads += w.state == WarpState::kDone ? 0 : 32;
    for (int id = 0; id < 16; id++) {
      Barrier& b = block.barriers[id];
      if (b.arrived == 0 || b.arrived < (b.expected == 0 ? threads : b.expected)) continue;
      for (Warp& w : block.warps) {
        if (w.state != WarpState::kBarrier || w.barrier != id) continue;
        for (std::size_t n = 0; n < w.clock.size(); n++) w.clock[n] = std::max(w.clock[n], b.clock[n]);
        w.state = WarpState::kReady;
      }
      b = Barrier{};
    }
  }

  [[noreturn]] void deadlock(Block& block) {
    std::string text;
    for (Warp& w : block.warps) {
      text +=
          "  warp " + std::to_string(w.index) + ": " +
          (w.state == WarpState::kDone ? "has exited" : "waits at barrier " + std::to_string(w.barrier) + ", " + where(launch_, code_[w.splits[0].pc - 1])) +
          "\n";
    }
    for (Warp& w : block.warps) {
      if (w.state != WarpState::kDone) report(FindingKind::kDeadlock, w, code_[w.splits[0].pc - 1], w.live(), "no warp of the block can go on:\n" + text);
    }
    throw std::runtime_error("a deadlock without a waiting warp");
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
  l.shared_bytes = (function.static_shared + 15) / 16 * 16 + shape.dynamic_shared;
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

  std::vector<u32> order(static_cast<std::size_t>(l.grid[0]) * l.grid[1] * l.grid[2]);
  for (u32 n = 0; n < order.size(); n++) order[n] = n;
  std::mt19937_64 random(seed);
  std::shuffle(order.begin(), order.end(), random);

  std::deque<std::unique_ptr<Block>> waiting;
  std::unique_ptr<Block> spare;
  std::size_t next = 0;
  while (next < order.size() || !waiting.empty()) {
    std::unique_ptr<Block> block;
    if (next < order.size()) {
      block = spare != nullptr ? std::move(spare) : std::make_unique<Block>();
      runner.start(*block, order[next++]);
    } else {
      block = std::move(waiting.front());
      waiting.pop_front();
    }
    if (runner.run(*block)) {
      spare = std::move(block);
    } else {
      waiting.push_back(std::move(block));
    }
  }
  for (std::size_t n = 0; n < executed.size(); n++) {
    if (executed[n] == 0) continue;
    counters.instructions[function.code[n].opcode] += executed[n];
    counters.warp_instructions += executed[n];
  }
}

}  // namespace vgpu
