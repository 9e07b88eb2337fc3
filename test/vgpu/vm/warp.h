// A warp and its block while they run, and the accesses to memory with all their checks.
#pragma once
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "counters.h"
#include "finding.h"
#include "fragments.h"
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

/// The order of accesses to one shared byte. A warp's clock counts the synchronisations it took part in.
struct SharedByte {
  u32 write_clock = 0;
  u16 writer = 0;  // warp + 1; 0: nobody
  u8 lane = 0;
  u8 initialised : 1 = 0;
  u8 pending : 1 = 0;  // a cp.async that has not landed
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
};

enum class WarpState { kReady, kBarrier, kDone };

struct Warp {
  Block* block = nullptr;
  int index = 0;
  std::vector<u64> registers;
  std::vector<Split> splits;  // of lanes that have not exited, by pc
  u32 started = 0;            // lanes that exist
  u32 exited = 0;
  WarpState state = WarpState::kReady;
  int barrier = 0;
  u32 barrier_count = 0;
  std::vector<u32> clock;  // what this warp knows of every warp's clock, its own among them
  std::vector<PendingCopy> copies;
  u32 groups[32] = {};
  std::vector<u8> local;
  std::vector<u8> local_initialised;
  // Of the instruction that runs.
  u32 next = 0;
  u32 branch_lanes = 0;
  bool yield = false;
  u32 sync_wait = 0;
  u32 backward = 0;

  u64* reg(u32 slot) { return &registers[static_cast<std::size_t>(slot) * 32]; }
  u32 live() const { return started & ~exited; }
};

struct Barrier {
  u32 arrived = 0;  // threads
  u32 expected = 0;
  std::vector<u32> clock;
};

struct Block {
  Launch* launch = nullptr;
  u32 index = 0;
  u32 coordinates[3] = {};
  std::vector<Warp> warps;
  std::vector<u8> shared;
  std::vector<SharedByte> shadow;
  std::vector<u32> reads;  // per byte pair and warp: the reader's clock + 1
  Barrier barriers[16];
  u32 epoch = 0;            // releases by membar
  u32 fenced = 0;           // epochs that a fence has made visible
  std::map<u32, u32> seen;  // other blocks' epochs known here
  std::mt19937_64 random;
};

struct Launch {
  const Function* function = nullptr;
  u32 grid[3] = {};
  u32 block[3] = {};
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

/// A shared access by `lane`, checked; the caller copies the bytes itself.
u8* shared_read(Warp& w, const Instruction& i, int lane, u32 address, u32 bytes);
u8* shared_write(Warp& w, const Instruction& i, int lane, u32 address, u32 bytes);

void require_converged(Warp& w, const Instruction& i, u32 lanes);
void land_copies(Warp& w, u32 lanes, u32 may_stay);

}  // namespace vgpu
