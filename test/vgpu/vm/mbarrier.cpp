// mbarrier instructions and the fences for them. PTX ISA 9.7.13.15, 9.7.13.4 "fence".
//
// arrive: one arrival less is missing; expect_tx: so many bytes more; a copy that has arrived: so many less. Parity p has completed when the present phase
// has the other one, so a fresh barrier lets "parity 1" pass: producers of a ring begin with 1, consumers with 0.
#include <algorithm>

#include "bulk.h"
#include "lanes.h"

namespace vgpu {
namespace {

constexpr i64 kMostBytes = (1 << 20) - 1;  // PTX ISA, "tx-count": range
constexpr u32 kMostArrivals = (1 << 20) - 1;

[[noreturn]] void misuse(Warp& w, const Instruction& i, int lane, const Mbarrier& b, const std::string& what) {
  report(FindingKind::kMbarrier, w, i, u32{1} << lane,
         "the mbarrier at shared + " + hex(b.address) + ", initialised at " + where(*w.block->launch, *b.init) + ": " + what + "; phase " +
             std::to_string(b.phase) + ", " + std::to_string(b.pending) + " of " + std::to_string(b.expected) + " arrivals and " + std::to_string(b.tx_bytes) +
             " bytes are missing");
}

/// Ends the phase if nothing is missing.
void settle(Cluster& cluster, Mbarrier& b) {
  cluster.progress++;
  if (b.pending != 0 || b.tx_bytes != 0) return;
  b.phase++;
  b.pending = b.expected;
  cluster.clock[b.component]++;
  b.completed.swap(b.arrivals);
  b.completed[b.component + 1] = static_cast<u32>(b.phase);
  std::fill(b.arrivals.begin(), b.arrivals.end(), 0);
}

void add_bytes(Warp& w, const Instruction& i, int lane, Mbarrier& b, i64 bytes) {
  b.tx_bytes += bytes;
  if (b.tx_bytes > kMostBytes || b.tx_bytes < -kMostBytes) misuse(w, i, lane, b, "its count of bytes overflows");
  if (b.pending == 0 && b.tx_bytes < 0) misuse(w, i, lane, b, "more bytes have arrived than were expected");
}

void remove_arrivals(Warp& w, const Instruction& i, int lane, Mbarrier& b, u32 count) {
  if (count == 0 || count > b.pending) misuse(w, i, lane, b, std::to_string(count) + " arrivals, more than are missing");
  b.pending -= count;
  if (b.pending == 0 && b.tx_bytes < 0) misuse(w, i, lane, b, "more bytes have arrived than were expected");
}

u64 address_at(Warp& w, const Instruction& i, int operand, int lane) {
  u64 address = source(w, i, operand)[lane] + static_cast<u64>(i.offset);
  if (i.kind != 0) return static_cast<u32>(address);
  if (address - kSharedWindow >= kWindowBytes) report(FindingKind::kOutOfBounds, w, i, u32{1} << lane, hex(address) + " is not in shared memory");
  return address - kSharedWindow;
}

Mbarrier& at(Warp& w, const Instruction& i, int operand, int lane) {
  auto address = static_cast<u32>(address_at(w, i, operand, lane));
  Block& block = shared_block(w, i, lane, address);
  return find_mbarrier(w, i, lane, block, address, false);
}

void init(Warp& w, const Instruction& i, u32 lanes) {
  for_lanes(lanes, [&](int l) {
    const auto address = static_cast<u32>(address_at(w, i, 0, l));
    Block& block = *w.block;
    Cluster& cluster = *block.cluster;
    check_shared_bounds(w, i, block, l, address, 8);
    const u32 count = v32(w, i, 1, l);
    if (count == 0 || count > kMostArrivals)
      report(FindingKind::kMbarrier, w, i, u32{1} << l, "a count of " + std::to_string(count) + ", it may be 1 to 1048575");
    u16& place = block.mbarrier_at[address / 8];
    if (place == 0) {
      block.mbarriers.emplace_back();
      place = static_cast<u16>(block.mbarriers.size());
      if (cluster.num_mbarriers == kMaxMbarriers)
        throw std::runtime_error("the virtual GPU has room for " + std::to_string(kMaxMbarriers) + " mbarriers per cluster");
      block.mbarriers.back().component = cluster.group_component(cluster.num_groups) + 2 * cluster.num_mbarriers++;
    } else if (block.mbarriers[place - 1].live) {
      misuse(w, i, l, block.mbarriers[place - 1], "initialised again while in use");
    }
    shared_write(w, i, l, address, 8);
    for (u32 b = 0; b < 8 && block.launch->checks; b++) block.shadow[address + b].barrier = 1;
    Mbarrier& b = block.mbarriers[place - 1];
    const u32 component = b.component;
    b = Mbarrier{};
    b.address = address;
    b.live = true;
    b.expected = b.pending = count;
    b.component = component;
    b.initialiser = w.component;
    b.init_clock = w.clock[w.component];
    b.init = &i;
    b.arrivals.assign(w.clock.size(), 0);
    b.completed.assign(w.clock.size(), 0);
    b.waited.assign(cluster.num_warps, 0);
  });
}

void invalidate(Warp& w, const Instruction& i, u32 lanes) {
  for_lanes(lanes, [&](int l) {
    Mbarrier& b = at(w, i, 0, l);
    if (b.tx_bytes != 0 || b.pending != b.expected) misuse(w, i, l, b, "invalidated in the middle of a phase");
    b.live = false;
    for (u32 n = 0; n < 8 && w.block->launch->checks; n++) {
      SharedByte& byte = w.block->shadow[b.address + n];
      byte.barrier = byte.initialised = 0;
      byte.writer = static_cast<u16>(w.component + 1);
      byte.write_clock = w.clock[w.component];
    }
  });
}

enum Flags { kExpect = 1, kDrop = 2, kRelaxed = 4, kCount = 8, kParity = 16, kComplete = 32 };

/// What an arrival releases; a relaxed one what a fence has released before it. Some lanes speak for all only after the lanes have synchronised.
void release(Warp& w, const Instruction& i, u32 lanes, int lane, std::vector<u32>& clock) {
  if ((i.flags & kRelaxed) != 0) return join(clock, w.fenced);
  std::vector<u32> known = clock_of(w, lane);
  if ((w.touched & ~lanes & w.live()) != 0) known[w.component] = std::min(known[w.component], w.synced);
  join(clock, known);
}

void arrive(Warp& w, const Instruction& i, u32 lanes) {
  w.clock[w.component]++;
  const Mbarrier* last = nullptr;
  u64 phase = 0;
  for_lanes(lanes, [&](int l) {
    Mbarrier& b = at(w, i, 1, l);
    target(w, i)[l] = b.phase;
    const u32 operand = (i.flags & (kExpect | kCount)) != 0 ? v32(w, i, 2, l) : 1;
    u32& known = w.clock[b.component + 1];
    known = std::max(known, static_cast<u32>(b.phase));
    if (last != &b || phase != b.phase || (w.acquired_lanes >> l & 1) != 0) release(w, i, lanes, l, b.arrivals);
    last = &b;
    phase = b.phase;
    if ((i.flags & kExpect) != 0) b.tx_bytes += operand;
    remove_arrivals(w, i, l, b, (i.flags & kExpect) != 0 ? 1 : operand);
    if ((i.flags & kExpect) != 0) add_bytes(w, i, l, b, 0);
    if ((i.flags & kDrop) != 0) b.expected -= (i.flags & kExpect) != 0 ? 1 : operand;
    settle(*w.block->cluster, b);
    known = std::max(known, static_cast<u32>(b.phase));  // whose arrival was the last one, with it that this phase is over
  });
}

void transaction(Warp& w, const Instruction& i, u32 lanes) {
  for_lanes(lanes, [&](int l) {
    Mbarrier& b = at(w, i, 0, l);
    const i64 bytes = v32(w, i, 1, l);
    add_bytes(w, i, l, b, (i.flags & kComplete) != 0 ? -bytes : bytes);
    settle(*w.block->cluster, b);
  });
}

/// test_wait and try_wait: neither sleeps here; a warp whose try failed rests until something has happened.
void wait(Warp& w, const Instruction& i, u32 lanes) {
  u32 done = 0;
  std::vector<const std::vector<u32>*> phases;
  for_lanes(lanes, [&](int l) {
    Mbarrier& b = at(w, i, 1, l);
    const u64 operand = source(w, i, 2)[l];
    u64& waited = b.waited[w.component];
    bool complete;
    if ((i.flags & kParity) != 0) {
      if ((operand & ~u64{1} & 0xffffffff) != 0) misuse(w, i, l, b, "a parity of " + std::to_string(static_cast<u32>(operand)) + ", it may be 0 or 1");
      complete = (b.phase & 1) != (operand & 1);
      // The phase that is meant, as far as it can be told: the next one with this parity after those that this warp has waited for or knows to be over.
      const u64 next = std::max<u64>(waited, clock_of(w, l)[b.component + 1]);
      if ((next & 1) == (operand & 1) && b.phase > next + 1)
        misuse(w, i, l, b, "this warp waits for phase " + std::to_string(next) + ", more than one phase behind: its parity means another one by now");
    } else {
      complete = b.phase > operand;
      if (b.phase > operand + 1) misuse(w, i, l, b, "the state is more than one phase old");
    }
    target(w, i)[l] = complete;
    if (!complete) return;
    done |= u32{1} << l;
    waited = b.phase;
    if ((i.flags & kRelaxed) != 0 || b.phase == 0) return;
    if (std::find(phases.begin(), phases.end(), &b.completed) == phases.end()) phases.push_back(&b.completed);
  });
  for (const std::vector<u32>* completed : phases) {
    acquire(w, done, *completed);
    // What other lanes had released into that phase is known now, too.
    w.synced = std::max(w.synced, (*completed)[w.component]);
  }
  if (done != lanes) w.polled = true;
  if (done != 0) w.block->launch->counters->mbarrier_waits++;
}

}  // namespace

Mbarrier& find_mbarrier(Warp& w, const Instruction& i, int lane, Block& block, u32 address, bool copy) {
  check_shared_bounds(w, i, block, lane, address, 8);
  const u16 place = block.mbarrier_at[address / 8];
  if (place == 0 || !block.mbarriers[place - 1].live)
    report(FindingKind::kMbarrier, w, i, u32{1} << lane, "there is no mbarrier at shared + " + hex(address) + ": it was not initialised, or invalidated");
  Mbarrier& b = block.mbarriers[place - 1];
  const std::vector<u32> clock = clock_of(w, lane);
  if (b.initialiser != w.component && clock[b.initialiser] <= b.init_clock && block.launch->checks)
    misuse(w, i, lane, b, "its initialisation is not ordered before this use by another warp");
  if (copy && block.launch->checks && (b.fence_clock == 0 || (b.initialiser != w.component && clock[b.initialiser] <= b.fence_clock)))
    misuse(w, i, lane, b, "a copy uses it, and no fence.mbarrier_init or fence.proxy.async has followed its initialisation");
  return b;
}

void complete_bytes(Warp& w, const Instruction& i, int lane, Mbarrier& b, u32 bytes) {
  if (!b.live) misuse(w, i, lane, b, "a copy completes on it after it was invalidated");
  Cluster& cluster = *w.block->cluster;
  b.arrivals[b.component] = cluster.clock[b.component] + 1;
  add_bytes(w, i, lane, b, -static_cast<i64>(bytes));
  settle(cluster, b);
}

void arrive_for_copies(Warp& w, const Instruction& i, int lane, Mbarrier& b) {
  Cluster& cluster = *w.block->cluster;
  b.arrivals[b.component] = cluster.clock[b.component] + 1;
  remove_arrivals(w, i, lane, b, 1);
  settle(cluster, b);
}

void expect_arrival(Mbarrier& b) { b.pending++; }

void fence_mbarrier_inits(Warp& w) {
  for (Mbarrier& b : w.block->mbarriers) {
    if (b.live && b.initialiser == w.component && b.fence_clock == 0) b.fence_clock = w.clock[w.component];
  }
}

bool decode_mbarrier(Instruction& i, const std::vector<std::string>& parts) {
  const auto has = [&](const char* part) { return std::find(parts.begin() + 1, parts.end(), part) != parts.end(); };
  static const std::vector<std::string> known = {"mbarrier", "init",      "inval",       "arrive",          "arrive_drop", "expect_tx", "complete_tx",
                                                 "try_wait", "test_wait", "parity",      "acquire",         "release",     "relaxed",   "cta",
                                                 "cluster",  "shared",    "shared::cta", "shared::cluster", "b64"};
  for (const std::string& part : parts) {
    if (std::find(known.begin(), known.end(), part) == known.end()) return false;
  }
  const auto operands = i.operands.size();
  i.kind = has("shared") || has("shared::cta") || has("shared::cluster");
  i.flags = has("relaxed") ? kRelaxed : 0;
  if (has("init")) {
    i.run = init;
    return operands == 2;
  }
  if (has("inval")) {
    i.run = invalidate;
    return operands == 1;
  }
  if (has("arrive") || has("arrive_drop")) {
    i.flags |= (has("expect_tx") ? kExpect : 0) | (has("arrive_drop") ? kDrop : 0) | (operands == 3 && !has("expect_tx") ? kCount : 0);
    i.run = arrive;
    return operands == (has("expect_tx") ? 3u : 2u) || (operands == 3 && !has("expect_tx"));
  }
  if (has("expect_tx") || has("complete_tx")) {
    i.flags |= has("complete_tx") ? kComplete : 0;
    i.run = transaction;
    return operands == 2;
  }
  if (has("try_wait") || has("test_wait")) {
    i.flags |= has("parity") ? kParity : 0;
    i.run = wait;
    return operands == 3 || (operands == 4 && has("try_wait"));
  }
  return false;
}

}  // namespace vgpu
