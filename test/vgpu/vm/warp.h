// A warp and its block while they run, and the accesses to memory with all their checks.
#pragma once
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "counters.h"
#include "finding.h"
#include "fragments.h"
#include "mbarrier.h"
#include "memory.h"
#include "program.h"

namespace vgpu {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

constexpr u32 kAllLanes = 0xffffffffu;

// Windows of the generic address space.
constexpr u64 kSharedWindow = 0x7f0000000000;
constexpr u64 kLocalWindow = 0x7e0000000000;
constexpr u64 kParamWindow = 0x7d0000000000;
constexpr u64 kWindowBytes = u64{1} << 32;

enum Space { kGeneric, kGlobal, kShared, kLocal, kParam, kConst };

struct Launch;
struct Block;
struct Cluster;
struct Warpgroup;
struct WarpProducts;

/// A bulk copy out of shared memory: its bytes are read at the wait that covers its group with .read, and written at the one without.
struct BulkStore {
  virtual ~BulkStore() = default;
  virtual void read() = 0;
  virtual void write() = 0;
  [[noreturn]] virtual void unread() = 0;  // the finding when its thread exits too early
  int lane = 0;
  u32 group = 0;
  bool has_read = false;
};

/// The order of accesses to one shared byte. A warp's clock counts the synchronisations it took part in.
struct SharedByte {
  u32 write_clock = 0;
  u16 writer = 0;  // component + 1; 0: nobody
  u8 lane = 0;
  u8 initialised : 1 = 0;
  u8 pending : 1 = 0;  // a copy that has not landed
  u8 generic : 1 = 0;  // written by a thread: asynchronous operations see it after fence.proxy.async
  u8 barrier : 1 = 0;  // of an mbarrier: for mbarrier instructions only
  const Instruction* write = nullptr;
};

struct PendingCopy {
  u8 lane;
  u8 bytes;
  u32 group;
  u32 to;
  u8 data[16];
  const Instruction* instruction;
};

struct Split {
  u32 pc;
  u32 lanes;
  u64 idle = 0;          // the cluster's progress, + 1, at a poll that failed: there is nothing to do until there is more
  bool waiting = false;  // for other lanes, at an instruction that wants them all
  u32 at = 0;            // the instruction of the last poll
};

/// Thrown by handlers before they have done anything: the instruction runs again when other lanes have come.
struct NotConverged {};
/// The same for what must happen elsewhere first: it runs again when the cluster has made progress.
struct NotYet {};

enum class WarpState { kReady, kBarrier, kDone };

struct Warp {
  Block* block = nullptr;
  int index = 0;
  u32 component = 0;  // its place in clocks: warps of a cluster's second block follow those of the first
  std::vector<u64> registers;
  std::vector<Split> splits;  // of lanes that have not exited, by pc
  u32 started = 0;            // lanes that exist
  u32 exited = 0;
  WarpState state = WarpState::kReady;
  int barrier = 0;
  u32 barrier_count = 0;
  std::vector<u32> clock;  // what this warp knows of every component's clock, its own among them: see Cluster
  // A wait by some lanes: what they alone know until the lanes synchronise.
  std::vector<u32> acquired;
  u32 acquired_lanes = 0;
  u32 touched = 0;          // lanes that have accessed shared memory since then
  u32 synced = 1;           // its own clock when its lanes last synchronised: later writes are seen by the lane that made them alone
  std::vector<u32> fenced;  // the clock when a fence released what came before; empty: none has
  std::shared_ptr<const std::vector<u32>> proxy_fence;  // what it knew at its last proxy fence
  std::vector<std::pair<u32, u32>> partial_fences;      // proxy fences by some lanes: the clock and the lanes
  std::vector<PendingCopy> copies;
  std::shared_ptr<WarpProducts> products;  // with asynchronous instructions
  u32 groups[32] = {};
  std::vector<std::unique_ptr<BulkStore>> bulk_stores;
  u32 bulk_groups[32] = {};
  std::vector<u8> local;
  std::vector<u8> local_initialised;
  // Of the instruction that runs.
  u32 next = 0;
  u32 branch_lanes = 0;
  bool yield = false;
  bool polled = false;           // in vain
  bool others_may_come = false;  // there are other splits that can still run
  u32 backward = 0;
  u32 cluster_phase = 0;  // in which it arrived at barrier.cluster, + 1

  u64* reg(u32 slot) { return &registers[static_cast<std::size_t>(slot) * 32]; }
  u32 live() const { return started & ~exited; }
};

struct Barrier {
  u32 arrived = 0;  // threads
  u32 warps = 0;    // whose they are
  u32 expected = 0;
  std::vector<u32> clock;
};

struct Block {
  Launch* launch = nullptr;
  Cluster* cluster = nullptr;
  u32 rank = 0;  // in its cluster
  u32 index = 0;
  u32 coordinates[3] = {};
  std::vector<Warp> warps;
  std::vector<u8> shared;
  std::vector<SharedByte> shadow;
  std::vector<u32> reads;        // per byte pair and reader (the cluster's warps): the reader's clock + 1
  std::vector<u32> async_reads;  // per 16 bytes and warpgroup of the cluster: as reads
  std::vector<u8> swizzles;      // per 16 bytes: how a copy laid them out
  Barrier barriers[16];
  std::vector<std::shared_ptr<Warpgroup>> warpgroups;
  std::vector<Mbarrier> mbarriers;
  std::vector<u16> mbarrier_at;  // per 8 bytes of shared memory: its place among them + 1
  u32 epoch = 0;                 // releases by membar
  u32 fenced = 0;                // epochs that a fence has made visible
  u32 proxy_fenced = 0;          // epochs whose stores a proxy fence has made visible to bulk copies
  std::map<u32, u32> seen;       // other blocks' epochs known here
  std::mt19937_64 random;
};

/// A copy that has been issued and has not arrived.
struct AsyncCopy {
  virtual ~AsyncCopy() = default;
  virtual void land() = 0;
  [[noreturn]] virtual void unfinished() = 0;  // the finding when the blocks are over and it has not landed
};

/// Blocks that run together and share their clocks; without clusters each block is one.
///
/// The components of a clock: a warp's own events; with asynchronous instructions also each warp's proxy fences, by all of its lanes and by some, the
/// reads of each warpgroup's wgmma, and for each mbarrier the phases of copies that it has counted, and the phases that are over.
struct Cluster {
  Launch* launch = nullptr;
  std::vector<std::unique_ptr<Block>> blocks;
  u32 num_warps = 0;
  u32 num_groups = 0;                                 // warpgroups; 0 without asynchronous instructions
  u32 num_mbarriers = 0;                              // that have a component
  std::vector<u32> clock;                             // of the components that are no warps
  u64 progress = 0;                                   // what warps may wait for has happened: polls are worth another try
  u64 polls = 0;                                      // rounds of polls in vain
  u64 polled_at = 0;                                  // the progress that their last one pretended
  std::vector<std::unique_ptr<AsyncCopy>> in_flight;  // they land when no warp can go on, in seeded order
  // barrier.cluster: threads that have arrived, phases completed, what was released.
  u32 arrived = 0;
  u32 phase = 0;
  std::vector<u32> arrivals;
  std::vector<u32> completed;
  std::mt19937_64 random;

  u32 fence_component(u32 warp) const { return num_warps + warp; }
  u32 partial_fence_component(u32 warp) const { return 2 * num_warps + warp; }
  u32 group_component(u32 group) const { return 3 * num_warps + group; }
};

struct Launch {
  const Function* function = nullptr;
  u32 grid[3] = {};
  u32 block[3] = {};
  u32 cluster[3] = {1, 1, 1};
  u32 dynamic_shared = 0;
  u32 shared_bytes = 0;
  std::vector<u8> params;
  GlobalMemory* memory = nullptr;
  Counters* counters = nullptr;
  bool checks = true;
  u64 seed = 0;
  std::map<u64, std::map<u32, u32>> released;  // by address of an atomic: the epochs its writers published
};

/// Throws a Finding with the whole report.
[[noreturn]] void report(FindingKind kind, Warp& w, const Instruction& i, u32 lanes, const std::string& what);

std::string where(const Launch& launch, const Instruction& i);

u8* access(Warp& w, const Instruction& i, int lane, Space space, u64 address, u32 bytes, bool store, bool atomic);
void count_global(Warp& w, const u64* addresses, u32 lanes, u32 bytes, bool store);
void count_shared(Warp& w, const u64* addresses, u32 lanes, u32 bytes);

/// A global access by `lane`, checked. `bulk`: of a bulk copy, of any size and alignment, and of bytes that may be uninitialised.
u8* global_access(Warp& w, const Instruction& i, int lane, u64 address, u32 bytes, bool store, bool atomic, bool bulk);

/// A shared access by `lane`, checked; the caller copies the bytes itself.
u8* shared_read(Warp& w, const Instruction& i, int lane, u32 address, u32 bytes);
u8* shared_write(Warp& w, const Instruction& i, int lane, u32 address, u32 bytes);
/// Atomics do not race with each other; their order against plain stores is checked.
u8* shared_atomic(Warp& w, const Instruction& i, int lane, u32 address, u32 bytes);

/// Addresses in the cluster's shared memory: the block's rank + 1 stands above the offset; 0 is the block itself.
constexpr int kRankShift = 24;
/// The block that `address` points into; what remains of it is the offset.
Block& shared_block(Warp& w, const Instruction& i, int lane, u32& address);

std::string hex(u64 value);
/// An address in global memory as allocation plus offset.
std::string describe(const Launch& launch, u64 address);
void check_shared_bounds(Warp& w, const Instruction& i, const Block& block, int lane, u64 address, u32 bytes);
/// Who a component is, for reports.
std::string party(const Cluster& cluster, u32 component);
void join(std::vector<u32>& clock, const std::vector<u32>& other);
/// Barrier `id` is complete: wakes the warps that wait at it.
void complete_barrier(Block& block, int id);
/// All lanes synchronise: what one knows or has done, all do.
void sync_lanes(Warp& w);
/// `lanes` learn `clock`; the others do when the lanes synchronise.
void acquire(Warp& w, u32 lanes, const std::vector<u32>& clock);
/// What a lane knows.
std::vector<u32> clock_of(const Warp& w, int lane);

/// Returns if `lanes` are the `wanted` ones. Otherwise lets the others come; when they cannot, it is a finding.
void require_lanes(Warp& w, const Instruction& i, u32 lanes, u32 wanted, FindingKind kind, const std::string& what);
void require_converged(Warp& w, const Instruction& i, u32 lanes);
void land_copies(Warp& w, u32 lanes, u32 may_stay);

}  // namespace vgpu
