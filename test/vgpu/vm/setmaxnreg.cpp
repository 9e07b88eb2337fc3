// setmaxnreg: registers that move between warps. PTX ISA 9.7.19 "setmaxnreg".
//
// A block begins with as many registers per thread as its threads can share (or .maxnreg), in units of 8; .dec gives some back to the block's pool, .inc
// takes some out of it and waits until they are there.
#include <algorithm>

#include "wgmma.h"

namespace vgpu {
namespace {

constexpr u32 kRegisters = 64 * 1024;  // of a multiprocessor
constexpr u32 kMostPerThread = 255;

u32 initial_count(const Block& block) {
  const Function& f = *block.launch->function;
  if (f.max_registers != 0) return f.max_registers;
  const u32 threads = static_cast<u32>(block.warps.size()) * 32 * std::max(f.min_blocks, 1u);
  return std::min(kRegisters / threads, kMostPerThread + 1) / 8 * 8;
}

// width: registers per thread, kind: 1 inc
void setmaxnreg(Warp& w, const Instruction& i, u32 lanes) {
  require_converged(w, i, lanes);
  Block& block = *w.block;
  const auto wanted = static_cast<u32>(i.width);
  const u32 initial = initial_count(block);
  u32 taken = 0;
  for (const Warp& other : block.warps) {
    if (&other != &w) taken += other.products->register_count == 0 ? initial : other.products->register_count;
  }
  const u32 pool = initial * static_cast<u32>(block.warps.size());
  WarpProducts& own = *w.products;
  const u32 count = own.register_count == 0 ? initial : own.register_count;
  if (i.kind == 1 ? wanted < count : wanted > count) {
    report(
        FindingKind::kRegisterCount, w, i, lanes,
        "this warp has " + std::to_string(count) + " registers per thread, which is " + (i.kind == 1 ? "more" : "fewer") + " than " + std::to_string(wanted));
  }
  if (i.kind == 1 && taken + wanted > pool) throw NotYet{};
  auto& asked = block.warpgroups[static_cast<std::size_t>(w.index) / 4]->register_counts;
  if (own.register_changes == asked.size()) {
    for (std::size_t n = static_cast<std::size_t>(w.index & ~3); n < std::min(static_cast<std::size_t>(w.index | 3) + 1, block.warps.size()); n++) {
      if (block.warps[n].products->register_changes < asked.size())
        report(FindingKind::kRegisterCount, w, i, lanes, "warp " + std::to_string(n) + " of the warpgroup has not executed the last setmaxnreg yet");
    }
    asked.push_back(wanted);
  } else if (asked[own.register_changes] != wanted) {
    report(FindingKind::kRegisterCount, w, i, lanes, "another warp of the warpgroup asked for " + std::to_string(asked[own.register_changes]));
  }
  own.register_changes++;
  own.register_count = wanted;
  block.cluster->progress++;
}

}  // namespace

void exit_registers(Warp& w, const Instruction& i, u32 lanes) {
  if ((w.live() & ~lanes) != 0) return;
  const auto first = static_cast<std::size_t>(w.index & ~3);
  for (std::size_t n = first; n < std::min(first + 4, w.block->warps.size()); n++) {
    const Warp& other = w.block->warps[n];
    const bool ahead = other.products->register_changes > w.products->register_changes;
    const bool ended_behind = other.state == WarpState::kDone && other.products->register_changes < w.products->register_changes;
    if (ahead || ended_behind) {
      report(FindingKind::kRegisterCount, w, i, lanes,
             "warp " + std::to_string(ahead ? w.index : other.index) + " ends without a setmaxnreg that warp " + std::to_string(ahead ? other.index : w.index) +
                 " of its warpgroup has executed");
    }
  }
}

bool decode_setmaxnreg(Instruction& i, const std::vector<std::string>& parts) {
  if (parts.size() != 5 || (parts[1] != "inc" && parts[1] != "dec") || parts[2] != "sync" || parts[3] != "aligned" || i.operands.size() != 1) return false;
  i.kind = parts[1] == "inc";
  i.width = std::atoi(i.text.c_str() + i.text.find_last_of(' '));
  if (i.width < 24 || i.width > 256 || i.width % 8 != 0) throw std::runtime_error("PTX: \"" + i.text + "\": the count must be a multiple of 8 from 24 to 256");
  i.run = setmaxnreg;
  return true;
}

}  // namespace vgpu
