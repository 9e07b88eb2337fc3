// Shared memory as threads and asynchronous operations see it, with the checks of every access.
//
// A byte knows its last writer with that component's clock (warp.h, Cluster); a pair of bytes knows when each warp read it last, and 16 bytes when each
// warpgroup's wgmma did. A warp's clock advances at each release (bar.sync, bar.warp.sync, mbarrier.arrive, fence.proxy.async), and who acquires learns it.
// An access races with another one that its own warp does not know to be over; within a warp, a lane may read what another lane wrote only after
// bar.warp.sync.
#include <algorithm>

#include "async.h"

namespace vgpu {

void join(std::vector<u32>& clock, const std::vector<u32>& other) {
  if (clock.size() < other.size()) clock.resize(other.size());
  for (std::size_t n = 0; n < other.size(); n++) clock[n] = std::max(clock[n], other[n]);
}

void sync_lanes(Warp& w) {
  w.synced = ++w.clock[w.component];
  w.touched = 0;
  if (w.acquired_lanes != 0) join(w.clock, w.acquired);
  w.acquired_lanes = 0;
  w.acquired.clear();
}

void acquire(Warp& w, u32 lanes, const std::vector<u32>& clock) {
  if (lanes == w.live()) return join(w.clock, clock);
  join(w.acquired, clock);
  w.acquired_lanes |= lanes;
  if (w.acquired_lanes != w.live()) return;
  join(w.clock, w.acquired);
  w.acquired_lanes = 0;
  w.acquired.clear();
}

std::vector<u32> clock_of(const Warp& w, int lane) {
  std::vector<u32> clock = w.clock;
  if (lane >= 0 && (w.acquired_lanes >> lane & 1) != 0) join(clock, w.acquired);
  return clock;
}

std::string party(const Cluster& cluster, u32 component) {
  if (component >= cluster.num_warps) {
    const u32 group = component - cluster.group_component(0);
    return component >= cluster.group_component(0) && group < cluster.num_groups ? "wgmma of warpgroup " + std::to_string(group) : std::string("a copy");
  }
  const auto warps_each = cluster.num_warps / static_cast<u32>(cluster.blocks.size());
  return "warp " + std::to_string(component % warps_each) + (cluster.blocks.size() > 1 ? " of block " + std::to_string(component / warps_each) : "");
}

void check_shared_bounds(Warp& w, const Instruction& i, const Block& block, int lane, u64 address, u32 bytes) {
  const u64 size = block.launch->shared_bytes;
  if (address % bytes != 0)
    report(FindingKind::kMisaligned, w, i, u32{1} << lane, "shared + " + hex(address) + " is not a multiple of " + std::to_string(bytes));
  if (address >= size || bytes > size - address)
    report(FindingKind::kOutOfBounds, w, i, u32{1} << lane, "shared + " + hex(address) + ", the block has " + std::to_string(size) + " bytes");
}

namespace {

[[noreturn]] void shared_race(Warp& w, const Instruction& i, int lane, u32 at, const SharedByte& byte, const char* how) {
  report(FindingKind::kSharedRace, w, i, u32{1} << lane,
         std::string(how) + " at shared + " + hex(at) +
             (byte.write == nullptr ? "" : ", last written by " + party(*w.block->cluster, byte.writer - 1u) + " at " + where(*w.block->launch, *byte.write)));
}

std::size_t reads_at(const Block& block, u32 byte, u32 component) { return static_cast<std::size_t>(byte / 2) * block.cluster->num_warps + component; }

/// Whether the write of a thread was followed by its proxy fence, as `clock` knows.
bool proxy_fenced(const Cluster& cluster, const std::vector<u32>& clock, const SharedByte& byte) {
  const u32 warp = byte.writer - 1u;
  if (clock[cluster.fence_component(warp)] > byte.write_clock) return true;
  const u32 known = clock[cluster.partial_fence_component(warp)];
  const auto warps_each = static_cast<u32>(cluster.blocks[0]->warps.size());
  for (const auto& [when, lanes] : cluster.blocks[warp / warps_each]->warps[warp % warps_each].partial_fences) {
    if (when > byte.write_clock && when <= known && (lanes >> byte.lane & 1) != 0) return true;
  }
  return false;
}

bool unordered(const std::vector<u32>& clock, const SharedByte& byte) { return byte.writer != 0 && clock[byte.writer - 1u] <= byte.write_clock; }

/// For an access by one lane.
bool unordered(const Warp& w, int lane, const SharedByte& byte) {
  if (!unordered(w.clock, byte)) return false;
  return (w.acquired_lanes >> lane & 1) == 0 || w.acquired[byte.writer - 1u] <= byte.write_clock;
}

static_assert(sizeof(SharedByte) == 16);  // no padding

/// Whether `count` bytes have all been written as `one` was, by the same lane at the same time.
bool same_history(const SharedByte* bytes, u32 count, const SharedByte& one) {
  u64 halves[2];
  std::memcpy(halves, &one, 16);
  u64 differ = 0;
  for (u32 n = 0; n < count; n++) {
    u64 other[2];
    std::memcpy(other, bytes + n, 16);
    differ |= (halves[0] ^ other[0]) | (halves[1] ^ other[1]);
  }
  return differ == 0;
}

void check_barrier_bytes(Warp& w, const Instruction& i, int lane, const SharedByte& byte, u32 at) {
  if (byte.barrier)
    report(FindingKind::kMbarrier, w, i, u32{1} << lane,
           "shared + " + hex(at) + " belongs to an mbarrier, initialised at " + where(*w.block->launch, *byte.write));
}

}  // namespace

u8* shared_read(Warp& w, const Instruction& i, int lane, u32 address, u32 bytes) {
  Block& block = shared_block(w, i, lane, address);
  check_shared_bounds(w, i, block, lane, address, bytes);
  if (block.launch->checks) {
    const u32 own = w.clock[w.component];
    w.touched |= u32{1} << lane;
    for (u32 at = address; at < address + bytes; at++) {
      const SharedByte& byte = block.shadow[at];
      if (byte.pending) report(FindingKind::kPendingCopy, w, i, u32{1} << lane, "shared + " + hex(at) + ", copied by " + where(*block.launch, *byte.write));
      check_barrier_bytes(w, i, lane, byte, at);
      if (!byte.initialised) report(FindingKind::kUninitialisedShared, w, i, u32{1} << lane, "shared + " + hex(at));
      if (byte.writer == w.component + 1) {
        if (byte.lane != lane && byte.write_clock >= w.synced) {
          report(FindingKind::kMissingSyncwarp, w, i, u32{1} << lane,
                 "shared + " + hex(at) + ", written by lane " + std::to_string(byte.lane) + " at " + where(*block.launch, *byte.write));
        }
      } else if (unordered(w, lane, byte)) {
        shared_race(w, i, lane, at, byte, "read after write");
      }
      block.reads[reads_at(block, at, w.component)] = own + 1;
    }
  }
  return &block.shared[address];
}

u8* shared_write(Warp& w, const Instruction& i, int lane, u32 address, u32 bytes) {
  Block& block = shared_block(w, i, lane, address);
  check_shared_bounds(w, i, block, lane, address, bytes);
  if (block.launch->checks) {
    const u32 own = w.clock[w.component];
    w.touched |= u32{1} << lane;
    for (u32 at = address; at < address + bytes; at++) {
      SharedByte& byte = block.shadow[at];
      if (byte.pending)
        report(FindingKind::kPendingCopy, w, i, u32{1} << lane,
               "a write to shared + " + hex(at) + ", into which " + where(*block.launch, *byte.write) + " still copies");
      check_barrier_bytes(w, i, lane, byte, at);
      if (byte.writer != w.component + 1 && unordered(w, lane, byte)) shared_race(w, i, lane, at, byte, "write after write");
      if (byte.writer == w.component + 1 && byte.lane != lane && byte.write != &i && byte.write_clock >= w.synced) {
        report(FindingKind::kMissingSyncwarp, w, i, u32{1} << lane,
               "a write to shared + " + hex(at) + ", written by lane " + std::to_string(byte.lane) + " at " + where(*block.launch, *byte.write));
      }
      if (at % 2 == 0) check_readers(w, i, block, lane, at, w.component);
      byte.writer = static_cast<u16>(w.component + 1);
      byte.lane = static_cast<u8>(lane);
      byte.write_clock = own;
      byte.write = &i;
      byte.initialised = 1;
      byte.generic = 1;
    }
    if (block.cluster->num_groups != 0) {
      for (u32 at = address / 16; at <= (address + bytes - 1) / 16; at++) {
        check_async_readers(w, i, block, lane, at);
        block.swizzles[at] = static_cast<u8>(Swizzle::kUnknown);
      }
    }
  }
  return &block.shared[address];
}

u8* shared_atomic(Warp& w, const Instruction& i, int lane, u32 address, u32 bytes) {
  Block& block = shared_block(w, i, lane, address);
  check_shared_bounds(w, i, block, lane, address, bytes);
  for (u32 at = address; at < address + bytes && block.launch->checks; at++) {
    const SharedByte& byte = block.shadow[at];
    if (byte.pending) report(FindingKind::kPendingCopy, w, i, u32{1} << lane, "shared + " + hex(at) + ", copied by " + where(*block.launch, *byte.write));
    check_barrier_bytes(w, i, lane, byte, at);
    if (!byte.initialised) report(FindingKind::kUninitialisedShared, w, i, u32{1} << lane, "shared + " + hex(at));
    if (byte.writer != w.component + 1 && unordered(w, lane, byte)) shared_race(w, i, lane, at, byte, "atomic after write");
  }
  return &block.shared[address];
}

void check_proxy_fence(Warp& w, const Instruction& i, const std::vector<u32>& clock, const std::vector<u32>* own_fence, const SharedByte& byte, u32 at) {
  const Cluster& cluster = *w.block->cluster;
  if (!byte.generic || byte.writer == 0) return;
  const bool counted = byte.writer > cluster.num_warps;
  if (counted ? own_fence != nullptr && (*own_fence)[byte.writer - 1u] > byte.write_clock : proxy_fenced(cluster, clock, byte)) return;
  report(FindingKind::kProxy, w, i, kAllLanes,
         "shared + " + hex(at) + ", written by " + party(cluster, byte.writer - 1u) + " lane " + std::to_string(byte.lane) + " at " +
             where(*w.block->launch, *byte.write) + " with no fence.proxy.async of that thread before this");
}

Block& shared_block(Warp& w, const Instruction& i, int lane, u32& address) {
  if (address >> kRankShift == 0) return *w.block;
  const u32 rank = (address >> kRankShift) - 1;
  address &= (u32{1} << kRankShift) - 1;
  Cluster& cluster = *w.block->cluster;
  if (rank >= cluster.blocks.size()) report(FindingKind::kOutOfBounds, w, i, u32{1} << lane, "the cluster has no block of rank " + std::to_string(rank));
  Block& block = *cluster.blocks[rank];
  const bool gone = std::all_of(block.warps.begin(), block.warps.end(), [](const Warp& other) { return other.state == WarpState::kDone; });
  if (gone) report(FindingKind::kOutOfBounds, w, i, u32{1} << lane, "shared memory of a block of the cluster that has exited");
  return block;
}

static bool known_by_lane(const Warp& w, int lane, u32 component, u32 clock) { return (w.acquired_lanes >> lane & 1) != 0 && w.acquired[component] >= clock; }

void check_readers(Warp& w, const Instruction& i, const Block& block, int lane, u32 at, u32 except) {
  const u32* const reads = &block.reads[reads_at(block, at, 0)];
  for (u32 other = 0; other < block.cluster->num_warps; other++) {
    if (reads[other] != 0 && other != except && w.clock[other] < reads[other] && !known_by_lane(w, lane, other, reads[other])) {
      report(FindingKind::kSharedRace, w, i, u32{1} << lane, "write after read at shared + " + hex(at) + ", read by " + party(*block.cluster, other));
    }
  }
}

void check_async_readers(Warp& w, const Instruction& i, const Block& block, int lane, u32 sixteen) {
  const Cluster& cluster = *block.cluster;
  for (u32 group = 0; group < cluster.num_groups; group++) {
    const u32 read = block.async_reads[sixteen * cluster.num_groups + group];
    if (read != 0 && w.clock[cluster.group_component(group)] < read && !known_by_lane(w, lane, cluster.group_component(group), read))
      report(FindingKind::kSharedRace, w, i, u32{1} << lane,
             "write after read at shared + " + hex(sixteen * 16) + ", read by " + party(cluster, cluster.group_component(group)));
  }
}

namespace {

void check_async_byte(Warp& w, const Instruction& i, const AsyncIssue& issue, const SharedByte& byte, u32 at) {
  const Block& block = *w.block;
  if (byte.pending) report(FindingKind::kPendingCopy, w, i, kAllLanes, "shared + " + hex(at) + ", copied by " + where(*block.launch, *byte.write));
  check_barrier_bytes(w, i, 0, byte, at);
  if (!byte.initialised) report(FindingKind::kUninitialisedShared, w, i, kAllLanes, "shared + " + hex(at));
  if (byte.writer == w.component + 1 ? byte.write_clock > issue.clock[w.component] : unordered(issue.clock, byte))
    shared_race(w, i, issue.lane, at, byte, "asynchronous read after write");
  if (!byte.generic || byte.writer == 0) return;
  if (issue.lane >= 0 && byte.writer == w.component + 1 && byte.lane != issue.lane && byte.write_clock >= issue.synced) {
    report(FindingKind::kMissingSyncwarp, w, i, u32{1} << issue.lane,
           "shared + " + hex(at) + ", written by lane " + std::to_string(byte.lane) + " at " + where(*block.launch, *byte.write));
  }
  check_proxy_fence(w, i, issue.clock, issue.proxy_fence.get(), byte, at);
}

}  // namespace

const u8* async_read(Warp& w, const Instruction& i, const AsyncIssue& issue, u32 address, u32 bytes, Swizzle mode, u32 reader) {
  Block& block = *w.block;
  Cluster& cluster = *block.cluster;
  if (address >= block.launch->shared_bytes || bytes > block.launch->shared_bytes - address)
    report(FindingKind::kOutOfBounds, w, i, kAllLanes, "shared + " + hex(address) + ", the block has " + std::to_string(block.launch->shared_bytes) + " bytes");
  if (!block.launch->checks) return &block.shared[address];
  // Most bytes have been written together: what holds for one holds for the others.
  const SharedByte* const shadow = block.shadow.data();
  for (u32 at = address; !same_history(shadow + at, address + bytes - at, issue.checked);) {
    check_async_byte(w, i, issue, shadow[at], at);
    issue.checked = shadow[at];
    while (at < address + bytes && same_history(shadow + at, 1, issue.checked)) at++;
  }
  for (u32 at = address; at < address + bytes && reader < cluster.num_warps; at++) {
    if (at % 2 != 0 && at != address) continue;
    u32& read = block.reads[reads_at(block, at, reader)];
    read = std::max(read, w.clock[reader] + 1);
  }
  for (u32 at = address / 16; at <= (address + bytes - 1) / 16; at++) {
    const auto found = static_cast<Swizzle>(block.swizzles[at]);
    if (mode != Swizzle::kUnknown && found != Swizzle::kUnknown && found != mode) {
      constexpr const char* kNames[] = {"none", "32 bytes", "64 bytes", "128 bytes"};
      report(
          FindingKind::kSwizzle, w, i, kAllLanes,
          "shared + " + hex(at * 16) + " was laid out with swizzle " + kNames[static_cast<int>(found)] + ", it is read with " + kNames[static_cast<int>(mode)]);
    }
    if (reader >= cluster.num_warps) block.async_reads[at * cluster.num_groups + (reader - cluster.group_component(0))] = cluster.clock[reader] + 1;
  }
  return &block.shared[address];
}

u32 wgmma_component(const Warp& w) {
  const u32 groups_each = w.block->cluster->num_groups / static_cast<u32>(w.block->cluster->blocks.size());
  return w.block->cluster->group_component(w.block->rank * groups_each + static_cast<u32>(w.index) / 4);
}

u32 end_reads(Warp& w, u32 component) { return ++w.block->cluster->clock[component]; }

void require_lanes(Warp& w, const Instruction& i, u32 lanes, u32 wanted, FindingKind kind, const std::string& what) {
  if (lanes == wanted) return;
  if (w.others_may_come) throw NotConverged{};
  report(kind, w, i, lanes, what);
}

void require_converged(Warp& w, const Instruction& i, u32 lanes) {
  if (lanes != kAllLanes) require_lanes(w, i, lanes, kAllLanes, FindingKind::kDivergence, "all 32 lanes must execute it together");
}

}  // namespace vgpu
