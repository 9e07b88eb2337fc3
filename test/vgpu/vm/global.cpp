// Global memory: blocks know of each other through fences and atomics on the same address.
#include <string>

#include "bulk.h"

namespace vgpu {
namespace {

void global_race_check(Warp& w, const Instruction& i, int lane, GlobalAllocation& a, u64 offset, u32 bytes, bool store) {
  Block& block = *w.block;
  const auto known = [&](u32 other, u32 epoch) {
    const auto seen = block.seen.find(other);
    return seen != block.seen.end() && seen->second > epoch;
  };
  for (u64 b = offset; b < offset + bytes; b++) {
    if (store) {
      const u32 reader = a.reader[b];
      if (reader != 0 && reader != block.index + 1 && !known(reader, a.reader_epoch[b])) {
        report(FindingKind::kGlobalRace, w, i, u32{1} << lane,
               "write of " + describe(*block.launch, a.base + b) + ", which block " + std::to_string(reader - 1) + " read in the same launch");
      }
    } else {
      a.reader[b] = block.index + 1;
      a.reader_epoch[b] = block.epoch;
    }
    const u32 writer = a.writer[b];
    if (writer == 0) continue;
    if (writer != block.index + 1) {
      if (!known(writer, a.writer_epoch[b])) {
        report(FindingKind::kGlobalRace, w, i, u32{1} << lane,
               std::string(store ? "write" : "read") + " of " + describe(*block.launch, a.base + b) + ", which block " + std::to_string(writer - 1) +
                   " wrote in the same launch");
      }
    }
  }
}

}  // namespace

u8* global_access(Warp& w, const Instruction& i, int lane, u64 address, u32 bytes, bool store, bool atomic, bool bulk) {
  Launch& launch = *w.block->launch;
  if (!bulk && address % bytes != 0)
    report(FindingKind::kMisaligned, w, i, u32{1} << lane, describe(launch, address) + " is not a multiple of " + std::to_string(bytes));
  GlobalAllocation* a = launch.memory->find(address);
  if (a == nullptr || bytes > a->bytes - (address - a->base))
    report(FindingKind::kOutOfBounds, w, i, u32{1} << lane, describe(launch, address) + ", " + std::to_string(bytes) + " bytes");
  const u64 offset = address - a->base;
  if (a->touched.empty()) {
    a->touched.reset(a->bytes);
    a->writer.reset(a->bytes);
    a->writer_epoch.reset(a->bytes);
    if (launch.checks) {
      a->reader.reset(a->bytes);
      a->reader_epoch.reset(a->bytes);
    }
  }
  if (launch.checks) {
    if (atomic || (!store && !bulk)) {
      for (u32 b = 0; b < bytes; b++) {
        if (!a->initialised[offset + b]) report(FindingKind::kUninitialisedGlobal, w, i, u32{1} << lane, describe(launch, address + b));
      }
    }
    if (!atomic) global_race_check(w, i, lane, *a, offset, bytes, store);
    if (!store && !bulk && (i.flags & 1) != 0) {
      for (u32 b = 0; b < bytes; b++) {
        if (a->writer[offset + b] != 0)
          report(FindingKind::kGlobalRace, w, i, u32{1} << lane, "ld.global.nc of " + describe(launch, address + b) + ", which this launch wrote");
      }
    }
  }
  AllocationTraffic& traffic = launch.counters->traffic[a->base];
  const u8 bit = store ? 2 : 1;
  u32 fresh = 0;
  for (u32 b = 0; b < bytes; b++) {
    fresh += (a->touched[offset + b] & bit) == 0;
    a->touched[offset + b] |= bit;
  }
  (store ? traffic.stored_bytes : traffic.loaded_bytes) += bytes;
  (store ? traffic.unique_stored_bytes : traffic.unique_loaded_bytes) += fresh;
  if (store) {
    std::memset(&a->initialised[offset], 1, bytes);
    if (!atomic) {
      for (u32 b = 0; b < bytes; b++) {
        a->writer[offset + b] = w.block->index + 1;
        a->writer_epoch[offset + b] = w.block->epoch;
      }
    }
  }
  return &a->data[offset];
}

const u8* bulk_global_read(Warp& w, const Instruction& i, int lane, u64 address, u32 bytes) {
  const u8* from = global_access(w, i, lane, address, bytes, false, false, true);
  const Block& block = *w.block;
  block.launch->counters->global_loaded_bytes += bytes;
  if (block.launch->checks) {
    const GlobalAllocation& a = *block.launch->memory->find(address);
    for (u64 b = address - a.base; b < address - a.base + bytes; b++) {
      if (a.writer[b] == block.index + 1 && a.writer_epoch[b] >= block.proxy_fenced)
        report(FindingKind::kProxy, w, i, u32{1} << lane, describe(*block.launch, a.base + b) + ", which this block wrote with no fence.proxy.async since");
    }
  }
  return from;
}

u8* bulk_global_write(Warp& w, const Instruction& i, int lane, u64 address, u32 bytes, bool adds) {
  w.block->launch->counters->global_stored_bytes += bytes;
  return global_access(w, i, lane, address, bytes, true, adds, true);
}

void bulk_global_poison(Warp& w, const Instruction& i, int lane, u64 address, u32 bytes) {
  GlobalAllocation* a = w.block->launch->memory->find(address);
  if (a == nullptr || bytes > a->bytes - (address - a->base))
    report(FindingKind::kOutOfBounds, w, i, u32{1} << lane, describe(*w.block->launch, address) + ", " + std::to_string(bytes) + " bytes");
  std::memset(&a->data[address - a->base], 0xff, bytes);
  std::memset(&a->initialised[address - a->base], 0, bytes);
}

}  // namespace vgpu
