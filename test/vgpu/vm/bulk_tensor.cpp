// cp.async.bulk.tensor and cp.reduce.async.bulk.tensor, tiled. PTX ISA 9.7.9.27 and 5.5 "Tensors".
//
// A box lies densely in shared memory, dimension 0 fastest, one element per element stride; then every 16 bytes move as the swizzle says. Elements outside
// of the tensor, in any dimension, are zeros when loaded and left out when stored; an mbarrier counts the whole box.
#include <algorithm>

#include "bulk.h"
#include "lanes.h"
#include "tensor_map.h"

namespace vgpu {
namespace {

struct Box {
  TensorMap map;
  i64 at[5] = {};
  u32 elements[5] = {1, 1, 1, 1, 1};  // along each dimension
  u32 bytes = 0;

  u32 row_bytes() const { return elements[0] * map.element_bytes; }
  /// Calls row(offset in the box, global address, bytes before those inside, bytes inside) for each run along dimension 0.
  template <class F>
  void rows(F row) const {
    const u32 count = bytes / row_bytes();
    for (u32 n = 0; n < count; n++) {
      u32 left = n;
      bool inside = true;
      u64 address = map.base;
      for (u32 d = 1; d < map.rank; d++) {
        const i64 c = at[d] + static_cast<i64>(left % elements[d]) * map.element_strides[d];
        left /= elements[d];
        inside = inside && c >= 0 && c <= static_cast<i64>(map.last[d]);
        address += static_cast<u64>(c) * map.strides[d - 1];
      }
      const i64 first = std::clamp<i64>(-at[0], 0, elements[0]);
      const i64 end = std::clamp<i64>(static_cast<i64>(map.last[0]) + 1 - at[0], 0, elements[0]);
      const u32 size = map.element_bytes;
      const u32 within = inside && end > first ? static_cast<u32>(end - first) * size : 0;
      row(n * row_bytes(), address + static_cast<u64>(at[0] + first) * size, static_cast<u32>(first) * size, within);
    }
  }
};

TensorMap read_map(Warp& w, const Instruction& i, int lane, u64 address) {
  Launch& launch = *w.block->launch;
  TensorMap map{};
  if (address % 64 != 0) report(FindingKind::kMisaligned, w, i, u32{1} << lane, "the tensor map at " + hex(address) + " is not 64-byte aligned");
  if (address - kParamWindow < kWindowBytes) {
    const u64 offset = address - kParamWindow;
    if (offset + sizeof map > launch.params.size()) report(FindingKind::kOutOfBounds, w, i, u32{1} << lane, "a tensor map at parameter + " + hex(offset));
    std::memcpy(&map, &launch.params[offset], sizeof map);
  } else {
    std::memcpy(&map, bulk_global_read(w, i, lane, address, sizeof map), sizeof map);
  }
  if (map.magic != kTensorMapMagic || map.check != checksum(map))
    report(FindingKind::kTensorMap, w, i, u32{1} << lane,
           "the 128 bytes at " + hex(address) + " were not made by cuTensorMapEncodeTiled, or were changed since");
  return map;
}

/// The box of an instruction with the map in operand `first` and the coordinates behind it.
Box box_of(Warp& w, const Instruction& i, int lane, int first, u64 offset) {
  Box box;
  box.map = read_map(w, i, lane, source(w, i, first)[lane] + offset);
  if (box.map.rank != i.count)
    report(FindingKind::kTensorMap, w, i, u32{1} << lane,
           "the instruction is for " + std::to_string(i.count) + " dimensions, the map has " + std::to_string(box.map.rank));
  box.bytes = box.map.element_bytes;
  for (int d = 0; d < i.count; d++) {
    box.at[d] = get<i32>(source(w, i, first + 1 + d)[lane]);
    const u32 stride = d == 0 ? 1 : box.map.element_strides[d];
    box.elements[d] = (box.map.box[d] + stride - 1) / stride;
    box.bytes *= box.elements[d];
  }
  return box;
}

void check_tile(Warp& w, const Instruction& i, int lane, u32 address) {
  if (address % 128 != 0)
    report(FindingKind::kMisaligned, w, i, u32{1} << lane, "shared + " + hex(address) + " is not a multiple of 128, as tensor copies need");
}

void count_copy(Warp& w, u32 bytes) {
  Counters& counters = *w.block->launch->counters;
  counters.tma_copies++;
  counters.tma_bytes += bytes;
}

struct TensorLoad : AsyncCopy {
  Warp* w;
  const Instruction* i;
  int lane;
  u32 to, barrier;
  std::vector<Block*> blocks;
  Box box;
  void unfinished() override { report_unfinished(*w, *i, lane); }
  void land() override {
    const auto mode = static_cast<Swizzle>(box.map.swizzle);
    std::vector<u8> row(box.row_bytes());
    box.rows([&](u32 offset, u64 from, u32 before, u32 inside) {
      std::fill(row.begin(), row.end(), u8{0});
      if (inside != 0) std::memcpy(&row[before], bulk_global_read(*w, *i, lane, from, inside), inside);
      for (Block* block : blocks) {
        for (u32 n = 0; n < row.size(); n += 16)
          std::memcpy(&block->shared[swizzled(to + offset + n, mode)], &row[n], std::min<std::size_t>(16, row.size() - n));
      }
    });
    for (Block* block : blocks) {
      Mbarrier& b = block->mbarriers[block->mbarrier_at[barrier / 8] - 1u];
      end_async_write(*block, to, box.bytes, b);
      complete_bytes(*w, *i, lane, b, box.bytes);
    }
  }
};

// …tensor.Nd.shared::cluster.global.mbarrier::complete_tx::bytes [to], [map, {…}], [mbarrier]{, mask}{, policy}; count: dimensions, flags: 1 multicast
void tensor_load(Warp& w, const Instruction& i, u32 lanes) {
  for_lanes(lanes, [&](int l) {
    auto load = std::make_unique<TensorLoad>();
    load->w = &w, load->i = &i, load->lane = l;
    load->box = box_of(w, i, l, 1, static_cast<u64>(i.offset2));
    load->to = static_cast<u32>(source(w, i, 0)[l] + static_cast<u64>(i.offset));
    load->barrier = static_cast<u32>(source(w, i, 2 + i.count)[l] + static_cast<u64>(i.offset3));
    Block& block = shared_block(w, i, l, load->to);
    Block& counts = shared_block(w, i, l, load->barrier);
    check_tile(w, i, l, load->to);
    count_copy(w, load->box.bytes);
    Cluster& cluster = *block.cluster;
    u32 mask = u32{1} << block.rank;
    if ((i.flags & 1) != 0) {
      mask = v32(w, i, 3 + i.count, l) & 0xffff;
      if (mask == 0 || mask >> cluster.blocks.size() != 0)
        report(FindingKind::kOutOfBounds, w, i, u32{1} << l,
               "a mask of " + hex(mask) + ", the cluster has " + std::to_string(cluster.blocks.size()) + " blocks");
    } else if (&counts != &block) {
      report(FindingKind::kMbarrier, w, i, u32{1} << l, "target and mbarrier are in different blocks");
    }
    for (auto& target : cluster.blocks) {
      if ((mask >> target->rank & 1) == 0) continue;
      find_mbarrier(w, i, l, *target, load->barrier, true);
      begin_async_write(w, i, l, *target, load->to, load->box.bytes, static_cast<Swizzle>(load->box.map.swizzle));
      load->blocks.push_back(target.get());
    }
    cluster.in_flight.push_back(std::move(load));
  });
}

struct TensorStore : BulkStore {
  Warp* w;
  const Instruction* i;
  AsyncIssue issue;
  u32 from;
  Box box;
  std::vector<u8> data;  // of the box, unswizzled
  void unread() override {
    report(FindingKind::kOpenBulk, *w, *i, u32{1} << lane, "the thread exits before its shared memory has been read: no cp.async.bulk.wait_group covers it");
  }
  void read() override {
    const auto mode = static_cast<Swizzle>(box.map.swizzle);
    data.resize(box.bytes);
    for (u32 n = 0; n < box.bytes; n += 16) {
      const u32 bytes = std::min(16u, box.bytes - n);
      std::memcpy(&data[n], async_read(*w, *i, issue, swizzled(from + n, mode), bytes, mode, w->component), bytes);
    }
  }
  void write() override {
    box.rows([&](u32 offset, u64 to, u32 before, u32 inside) {
      if (inside == 0) return;
      u8* target = bulk_global_write(*w, *i, lane, to, inside, i->kind >= 0);
      const u8* row = &data[offset + before];
      if (i->kind < 0) {
        std::copy(row, row + inside, target);
      } else {
        reduce(target, row, inside, static_cast<int>(box.map.type));
      }
    });
  }
};

// …tensor.Nd.global.shared::cta.bulk_group [map, {…}], [from]{, policy}; kind: -1, with reduction 0
void tensor_store(Warp& w, const Instruction& i, u32 lanes) {
  for_lanes(lanes, [&](int l) {
    auto store = std::make_unique<TensorStore>();
    store->w = &w;
    store->i = &i;
    store->box = box_of(w, i, l, 0, static_cast<u64>(i.offset));
    store->from = static_cast<u32>(source(w, i, 1 + i.count)[l] + static_cast<u64>(i.offset2));
    check_tile(w, i, l, store->from);
    if (u64{store->from} + store->box.bytes > w.block->launch->shared_bytes)
      report(FindingKind::kOutOfBounds, w, i, u32{1} << l, std::to_string(store->box.bytes) + " bytes at shared + " + hex(store->from));
    count_copy(w, store->box.bytes);
    if (i.kind < 0) {
      store->box.rows([&](u32, u64 to, u32, u32 inside) {
        if (inside != 0) bulk_global_poison(w, i, l, to, inside);
      });
    }
    store->issue = issue_async(w, l);
    open_bulk_store(w, l, std::move(store));
  });
}

}  // namespace

bool decode_bulk_tensor(Instruction& i, const std::vector<std::string>& parts) {
  const auto has = [&](const char* part) { return std::find(parts.begin() + 1, parts.end(), part) != parts.end(); };
  const auto dimensions = std::find(parts.begin(), parts.end(), "tensor") + 1;
  if (dimensions == parts.end() || dimensions->size() != 2 || (*dimensions)[1] != 'd' || (*dimensions)[0] < '1' || (*dimensions)[0] > '5') return false;
  if (parts[2] == "prefetch" || has("im2col") || has("tile::gather4") || has("tile::scatter4")) return false;
  i.count = (*dimensions)[0] - '0';
  const auto operands = i.operands.size();
  const u32 policy = has("L2::cache_hint");
  if (has("mbarrier::complete_tx::bytes") && has("global") && (has("shared::cluster") || has("shared::cta"))) {
    i.flags = has("multicast::cluster");
    i.run = tensor_load;
    return operands == 3u + static_cast<u32>(i.count) + static_cast<u32>(i.flags) + policy;
  }
  if (has("bulk_group") && has("global") && has("shared::cta")) {
    const bool reduces = parts[1] == "reduce";
    if (reduces && !has("add")) return false;
    i.kind = reduces ? 0 : -1;
    i.run = tensor_store;
    return operands == 2u + static_cast<u32>(i.count) + policy;
  }
  return false;
}

void prefetch_map(Warp& w, const Instruction& i, u32 lanes) {
  for_lanes(lanes, [&](int l) { read_map(w, i, l, source(w, i, 0)[l] + static_cast<u64>(i.offset) + (i.kind != 0 ? kParamWindow : 0)); });
}

}  // namespace vgpu
