// cp.async.bulk of contiguous bytes, bulk groups, and arrivals of cp.async. PTX ISA 9.7.9.27.
//
// A copy into shared memory poisons its target and lands when no warp of the cluster can go on, in seeded order. A copy out of it is read at the wait for its
// group with .read and written at the one without; until then its target is poison.
#include "bulk.h"

#include <algorithm>
#include <bit>

#include "lanes.h"
#include "tensor_map.h"

namespace vgpu {

void report_unfinished(Warp& w, const Instruction& i, int lane) {
  report(FindingKind::kOpenBulk, w, i, u32{1} << lane, "all threads have exited and this copy into their shared memory has not landed: nobody waited for it");
}

void open_bulk_store(Warp& w, int lane, std::unique_ptr<BulkStore> store) {
  store->lane = lane;
  store->group = w.bulk_groups[lane];
  w.bulk_stores.push_back(std::move(store));
}

void exit_bulk(Warp& w, u32 lanes) {
  for (const auto& store : w.bulk_stores) {
    if ((lanes >> store->lane & 1) == 0) continue;
    if (!store->has_read) store->unread();
    store->write();
  }
  std::erase_if(w.bulk_stores, [&](const auto& store) { return (lanes >> store->lane & 1) != 0; });
}

namespace {

bool aligned16(u64 value) { return value % 16 == 0; }

struct BulkLoad : AsyncCopy {
  Warp* w;
  const Instruction* i;
  int lane;
  Block* block;
  u32 to, bytes, barrier;
  u64 from;
  void unfinished() override { report_unfinished(*w, *i, lane); }
  void land() override {
    Mbarrier& b = block->mbarriers[block->mbarrier_at[barrier / 8] - 1u];
    std::memcpy(&block->shared[to], bulk_global_read(*w, *i, lane, from, bytes), bytes);
    end_async_write(*block, to, bytes, b);
    complete_bytes(*w, *i, lane, b, bytes);
  }
};

// cp.async.bulk.shared.global.mbarrier::complete_tx::bytes [to], [from], bytes, [mbarrier]{, mask}{, policy}; flags: 1 multicast
void bulk_load(Warp& w, const Instruction& i, u32 lanes) {
  for_lanes(lanes, [&](int l) {
    auto to = static_cast<u32>(source(w, i, 0)[l] + static_cast<u64>(i.offset));
    const u64 from = source(w, i, 1)[l] + static_cast<u64>(i.offset2);
    const u32 bytes = v32(w, i, 2, l);
    auto barrier = static_cast<u32>(source(w, i, 3)[l] + static_cast<u64>(i.offset3));
    Block& block = shared_block(w, i, l, to);
    Block& counts = shared_block(w, i, l, barrier);
    if (!aligned16(to) || !aligned16(from) || !aligned16(bytes) || bytes == 0)
      report(FindingKind::kMisaligned, w, i, u32{1} << l,
             "shared + " + hex(to) + ", " + describe(*w.block->launch, from) + " and " + std::to_string(bytes) + " bytes must be multiples of 16");
    Counters& counters = *w.block->launch->counters;
    counters.tma_copies++;
    counters.tma_bytes += bytes;
    const u32 mask = (i.flags & 1) != 0 ? v32(w, i, 4, l) : u32{1} << block.rank;
    for (auto& target : block.cluster->blocks) {
      if ((mask >> target->rank & 1) == 0) continue;
      if ((i.flags & 1) == 0 && &counts != &block) report(FindingKind::kMbarrier, w, i, u32{1} << l, "target and mbarrier are in different blocks");
      find_mbarrier(w, i, l, *target, barrier, true);
      begin_async_write(w, i, l, *target, to, bytes, Swizzle::kNone);
      auto copy = std::make_unique<BulkLoad>();
      copy->w = &w, copy->i = &i, copy->lane = l, copy->block = target.get();
      copy->to = to, copy->bytes = bytes, copy->barrier = barrier, copy->from = from;
      w.block->cluster->in_flight.push_back(std::move(copy));
    }
  });
}

struct PlainStore : BulkStore {
  Warp* w;
  const Instruction* i;
  AsyncIssue issue;
  u32 from, bytes;
  u64 to;
  std::vector<u8> data;
  void unread() override {
    report(FindingKind::kOpenBulk, *w, *i, u32{1} << lane, "the thread exits before its shared memory has been read: no cp.async.bulk.wait_group covers it");
  }
  void read() override {
    const u8* bytes_read = async_read(*w, *i, issue, from, bytes, Swizzle::kNone, w->component);
    data.assign(bytes_read, bytes_read + bytes);
  }
  void write() override {
    u8* target = bulk_global_write(*w, *i, lane, to, bytes, i->kind >= 0);
    if (i->kind < 0) {
      std::copy(data.begin(), data.end(), target);
    } else {
      reduce(target, data.data(), bytes, i->kind);
    }
  }
};

// cp.async.bulk.global.shared::cta.bulk_group [to], [from], bytes{, policy}, and cp.reduce.async.bulk: kind: the type, -1 without reduction
void bulk_store(Warp& w, const Instruction& i, u32 lanes) {
  for_lanes(lanes, [&](int l) {
    auto store = std::make_unique<PlainStore>();
    store->w = &w;
    store->i = &i;
    store->to = source(w, i, 0)[l] + static_cast<u64>(i.offset);
    store->from = static_cast<u32>(source(w, i, 1)[l] + static_cast<u64>(i.offset2));
    store->bytes = v32(w, i, 2, l);
    if (!aligned16(store->to) || !aligned16(store->from) || !aligned16(store->bytes) || store->bytes == 0)
      report(FindingKind::kMisaligned, w, i, u32{1} << l,
             "shared + " + hex(store->from) + ", " + describe(*w.block->launch, store->to) + " and " + std::to_string(store->bytes) +
                 " bytes must be multiples of 16");
    if (i.kind < 0) bulk_global_poison(w, i, l, store->to, store->bytes);
    Counters& counters = *w.block->launch->counters;
    counters.tma_copies++;
    counters.tma_bytes += store->bytes;
    store->issue = issue_async(w, l);
    open_bulk_store(w, l, std::move(store));
  });
}

void commit(Warp& w, const Instruction&, u32 lanes) {
  for_lanes(lanes, [&](int l) { w.bulk_groups[l]++; });
}

// flags: 1 .read
void wait_group(Warp& w, const Instruction& i, u32 lanes) {
  const u32 may_stay = v32(w, i, 0, std::countr_zero(lanes));
  w.clock[w.component]++;
  std::erase_if(w.bulk_stores, [&](const auto& store) {
    if ((lanes >> store->lane & 1) == 0 || store->group + may_stay >= w.bulk_groups[store->lane]) return false;
    if (!store->has_read) store->read();
    store->has_read = true;
    if (i.flags != 0) return false;
    store->write();
    return true;
  });
}

/// cp.async.mbarrier.arrive: the copies of this thread until now land, and then it arrives.
struct CopyArrival : AsyncCopy {
  Warp* w;
  const Instruction* i;
  int lane;
  u32 barrier;
  std::vector<PendingCopy> copies;
  void unfinished() override { report_unfinished(*w, *i, lane); }
  void land() override {
    Block& block = *w->block;
    Mbarrier& b = block.mbarriers[block.mbarrier_at[barrier / 8] - 1u];
    for (const PendingCopy& copy : copies) {
      std::memcpy(&block.shared[copy.to], copy.data, copy.bytes);
      if (block.launch->checks) {
        for (u32 n = 0; n < copy.bytes; n++) {
          SharedByte& byte = block.shadow[copy.to + n];
          byte.pending = 0;
          byte.writer = static_cast<u16>(b.component + 1);
          byte.write_clock = block.cluster->clock[b.component];
        }
      }
    }
    arrive_for_copies(*w, *i, lane, b);
  }
};

// flags: 1 .noinc
void copies_arrive(Warp& w, const Instruction& i, u32 lanes) {
  for_lanes(lanes, [&](int l) {
    const auto address = static_cast<u32>(source(w, i, 0)[l] + static_cast<u64>(i.offset));
    Mbarrier& b = find_mbarrier(w, i, l, *w.block, address, false);
    if (i.flags == 0) expect_arrival(b);
    auto arrival = std::make_unique<CopyArrival>();
    arrival->w = &w, arrival->i = &i, arrival->lane = l, arrival->barrier = address;
    std::erase_if(w.copies, [&](const PendingCopy& copy) {
      if (copy.lane != l) return false;
      arrival->copies.push_back(copy);
      return true;
    });
    w.block->cluster->in_flight.push_back(std::move(arrival));
  });
}

}  // namespace

bool decode_bulk(Instruction& i, const std::vector<std::string>& parts) {
  const auto has = [&](const char* part) { return std::find(parts.begin() + 1, parts.end(), part) != parts.end(); };
  const auto operands = i.operands.size();
  if (has("mbarrier")) {  // cp.async.mbarrier.arrive{.noinc}
    i.flags = has("noinc");
    i.run = copies_arrive;
    return has("arrive") && parts.back() == "b64" && operands == 1;
  }
  if (has("tensor")) return decode_bulk_tensor(i, parts);
  if (has("commit_group")) {
    i.run = commit;
    return operands == 0;
  }
  if (has("wait_group")) {
    i.flags = has("read");
    i.run = wait_group;
    return operands == 1;
  }
  const u32 policy = has("L2::cache_hint");
  if (parts[0] == "cp" && has("mbarrier::complete_tx::bytes") && parts.size() > 4 && (parts[3] == "shared::cluster" || parts[3] == "shared::cta") &&
      parts[4] == "global") {
    i.flags = has("multicast::cluster");
    i.run = bulk_load;
    return operands == 4u + static_cast<u32>(i.flags) + policy;
  }
  const bool reduces = parts[0] == "cp" && parts[1] == "reduce";
  if (has("bulk_group") && has("global") && has("shared::cta")) {
    i.kind = -1;
    if (reduces) {
      const std::string& type = parts.back();
      i.kind = static_cast<int>(type == "f32"    ? TensorType::kF32
                                : type == "f16"  ? TensorType::kF16
                                : type == "bf16" ? TensorType::kBf16
                                : type == "u64"  ? TensorType::kU64
                                                 : TensorType::kU32);
      if (!has("add") || (i.kind == static_cast<int>(TensorType::kU32) && type != "u32" && type != "s32")) return false;
    }
    i.run = bulk_store;
    return operands == 3u + policy;
  }
  return false;
}

}  // namespace vgpu
