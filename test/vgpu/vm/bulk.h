// What bulk copies need of mbarriers and of the memories.
#pragma once
#include "async.h"

namespace vgpu {

/// The mbarrier at `address` of `block`, which must be ready for this use: initialised, known here, and fenced if a copy is to complete on it.
Mbarrier& find_mbarrier(Warp& w, const Instruction& i, int lane, Block& block, u32 address, bool copy);
/// A copy has arrived: its bytes come off the count, and it releases into the phase.
void complete_bytes(Warp& w, const Instruction& i, int lane, Mbarrier& b, u32 bytes);
/// cp.async.mbarrier.arrive: the arrival once the copies have landed, and the one that it adds at its issue unless .noinc.
void arrive_for_copies(Warp& w, const Instruction& i, int lane, Mbarrier& b);
void expect_arrival(Mbarrier& b);
void fence_mbarrier_inits(Warp& w);

/// A copy whose shared memory is gone before it has landed: the next block would get its bytes.
[[noreturn]] void report_unfinished(Warp& w, const Instruction& i, int lane);

/// A copy into shared memory begins: `address` to `address + bytes` of `block` is checked, poisoned and pending.
void begin_async_write(Warp& w, const Instruction& i, int lane, Block& block, u32 address, u32 bytes, Swizzle mode);
/// It has arrived, and is known to who waits for the phase of the mbarrier that counts it.
void end_async_write(Block& block, u32 address, u32 bytes, const Mbarrier& b);

/// Global memory as a bulk copy sees it: like `access`, of any alignment, and the bytes may be uninitialised (what lies beyond a sequence is copied and masked).
const u8* bulk_global_read(Warp& w, const Instruction& i, int lane, u64 address, u32 bytes);
/// `adds`: as atomics do; otherwise the bytes are replaced.
u8* bulk_global_write(Warp& w, const Instruction& i, int lane, u64 address, u32 bytes, bool adds);
/// Poison until the store arrives.
void bulk_global_poison(Warp& w, const Instruction& i, int lane, u64 address, u32 bytes);

/// Adds a store to its thread's open group.
void open_bulk_store(Warp& w, int lane, std::unique_ptr<BulkStore> store);
/// Threads exit: what they have copied out of shared memory must have been read.
void exit_bulk(Warp& w, u32 lanes);

/// Adds the elements of a type (a TensorType of tensor_map.h) at `from` to those at `to`.
void reduce(u8* to, const u8* from, u32 bytes, int type);

/// prefetch.tensormap: checks the map.
void prefetch_map(Warp& w, const Instruction& i, u32 lanes);

bool decode_mbarrier(Instruction& i, const std::vector<std::string>& parts);
bool decode_bulk(Instruction& i, const std::vector<std::string>& parts);
bool decode_bulk_tensor(Instruction& i, const std::vector<std::string>& parts);

}  // namespace vgpu
