// Loads, stores, atomics, fences and barriers, with the checks of every access.
//
// Shared memory: shared.cpp. Global memory: blocks know of each other through fences and atomics on the same address.
#include <algorithm>
#include <bit>
#include <cstdio>
#include <set>

#include "bulk.h"

namespace vgpu {

std::string where(const Launch& launch, const Instruction& i) {
  const auto& files = *launch.function->files;
  const auto found = files.find(i.file);
  std::string file = found == files.end() ? "?" : found->second;
  if (const auto slash = file.rfind('/'); slash != std::string::npos) file = file.substr(slash + 1);
  return file + ":" + std::to_string(i.line) + "  " + i.text;
}

void report(FindingKind kind, Warp& w, const Instruction& i, u32 lanes, const std::string& what) {
  const Block& block = *w.block;
  char head[256];
  std::snprintf(head, sizeof head, ", CTA (%u,%u,%u), warp %d, lanes 0x%x, seed %llu", block.coordinates[0], block.coordinates[1], block.coordinates[2],
                w.index, lanes, static_cast<unsigned long long>(block.launch->seed));
  throw Finding(kind, std::string(name_of(kind)) + " in " + block.launch->function->name + head + "\n  " + where(*block.launch, i) + "\n  " + what);
}

std::string hex(u64 value) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string describe(const Launch& launch, u64 address) {
  const GlobalAllocation* near = launch.memory->nearest(address);
  if (near == nullptr) return hex(address);
  return hex(address) + " = allocation " + hex(near->base) + " of " + std::to_string(near->bytes) + " bytes " +
         (address >= near->base ? "+ " + std::to_string(address - near->base) : "- " + std::to_string(near->base - address));
}

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

/// `bulk`: of a bulk copy, of any size and alignment, and of bytes that may be uninitialised.
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

}  // namespace

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

u8* access(Warp& w, const Instruction& i, int lane, Space space, u64 address, u32 bytes, bool store, bool atomic) {
  if (space == kGeneric) {
    if (address - kSharedWindow < kWindowBytes) {
      space = kShared;
      address -= kSharedWindow;
    } else if (address - kLocalWindow < kWindowBytes) {
      space = kLocal;
      address -= kLocalWindow;
    } else if (address - kParamWindow < kWindowBytes) {
      space = kParam;
      address -= kParamWindow;
    }
  }
  Launch& launch = *w.block->launch;
  if (space == kShared) {
    if (address >= kWindowBytes) report(FindingKind::kOutOfBounds, w, i, u32{1} << lane, "shared + " + hex(address));
    if (atomic) return shared_atomic(w, i, lane, static_cast<u32>(address), bytes);
    return store ? shared_write(w, i, lane, static_cast<u32>(address), bytes) : shared_read(w, i, lane, static_cast<u32>(address), bytes);
  }
  if (space == kParam) {
    if (address % bytes != 0 || address + bytes > launch.params.size()) report(FindingKind::kOutOfBounds, w, i, u32{1} << lane, "parameter + " + hex(address));
    return &launch.params[address];
  }
  if (space == kLocal) {
    const u64 size = launch.function->local_bytes;
    if (address % bytes != 0) report(FindingKind::kMisaligned, w, i, u32{1} << lane, "local + " + hex(address));
    if (address + bytes > size) report(FindingKind::kOutOfBounds, w, i, u32{1} << lane, "local + " + hex(address) + " of " + std::to_string(size) + " bytes");
    const u64 at = static_cast<u64>(lane) * size + address;
    for (u32 b = 0; b < bytes; b++) {
      if (store) w.local_initialised[at + b] = 1;
      if (!w.local_initialised[at + b] && launch.checks) report(FindingKind::kUninitialisedLocal, w, i, u32{1} << lane, "local + " + hex(address + b));
    }
    return &w.local[at];
  }
  return global_access(w, i, lane, address, bytes, store, atomic, false);
}

namespace {

template <class F>
void for_lanes(u32 lanes, F f) {
  for (u32 left = lanes; left != 0; left &= left - 1) f(std::countr_zero(left));
}

bool is_global(Space space, u64 address) { return space == kGlobal || space == kConst || (space == kGeneric && address < kParamWindow); }

// kind: space, width: bytes of an element, count: elements, flags: 1 .nc, 2 sign-extend
void load(Warp& w, const Instruction& i, u32 lanes) {
  const auto space = static_cast<Space>(i.kind);
  const u64* base = w.reg(i.operands[static_cast<std::size_t>(i.count)]);
  const u32 bytes = static_cast<u32>(i.width * i.count);
  u64 addresses[32] = {};
  for_lanes(lanes, [&](int l) { addresses[l] = base[l] + static_cast<u64>(i.offset); });
  if (space == kShared) count_shared(w, addresses, lanes, bytes);
  if (is_global(space, addresses[std::countr_zero(lanes) & 31])) count_global(w, addresses, lanes, bytes, false);
  for_lanes(lanes, [&](int l) {
    const u8* from = access(w, i, l, space, space == kShared ? static_cast<u32>(addresses[l]) : addresses[l], bytes, false, false);
    for (int n = 0; n < i.count; n++) {
      u64 value = 0;
      std::memcpy(&value, from + n * i.width, static_cast<std::size_t>(i.width));
      if ((i.flags & 2) != 0) {
        const int shift = 64 - 8 * i.width;
        value = static_cast<u64>(static_cast<std::int64_t>(value << shift) >> shift);
      }
      w.reg(i.operands[static_cast<std::size_t>(n)])[l] = value;
    }
  });
}

void store(Warp& w, const Instruction& i, u32 lanes) {
  const auto space = static_cast<Space>(i.kind);
  const u64* base = w.reg(i.operands[0]);
  const u32 bytes = static_cast<u32>(i.width * i.count);
  u64 addresses[32] = {};
  for_lanes(lanes, [&](int l) { addresses[l] = base[l] + static_cast<u64>(i.offset); });
  if (space == kShared) count_shared(w, addresses, lanes, bytes);
  if (is_global(space, addresses[std::countr_zero(lanes) & 31])) count_global(w, addresses, lanes, bytes, true);
  for_lanes(lanes, [&](int l) {
    u8* to = access(w, i, l, space, space == kShared ? static_cast<u32>(addresses[l]) : addresses[l], bytes, true, false);
    for (int n = 0; n < i.count; n++) std::memcpy(to + n * i.width, &w.reg(i.operands[static_cast<std::size_t>(n + 1)])[l], static_cast<std::size_t>(i.width));
  });
}

enum Atomic { kAdd, kMin, kMax, kInc, kDec, kCas, kExch, kAnd, kOr, kXor };

// flags: 1 signed, 2 float, 4 has a result
void atomic(Warp& w, const Instruction& i, u32 lanes) {
  const auto space = static_cast<Space>(i.kind & 15);
  const std::size_t first = (i.flags & 4) != 0;
  Block& block = *w.block;
  for_lanes(lanes, [&](int l) {
    const u64 address = w.reg(i.operands[first])[l] + static_cast<u64>(i.offset);
    u8* at = access(w, i, l, space, address, static_cast<u32>(i.width), true, true);
    u64 old = 0;
    std::memcpy(&old, at, static_cast<std::size_t>(i.width));
    const u64 mask = i.width == 8 ? ~u64{0} : 0xffffffff;
    const u64 b = w.reg(i.operands[first + 1])[l] & mask;
    const auto sign = [&](u64 v) { return i.width == 8 ? static_cast<std::int64_t>(v) : static_cast<std::int64_t>(static_cast<std::int32_t>(v)); };
    const bool less = (i.flags & 1) != 0 ? sign(b) < sign(old) : b < old;
    u64 value = b;
    switch (i.kind >> 4) {
      case kAdd:
        value = (i.flags & 2) != 0 ? std::bit_cast<u32>(std::bit_cast<float>(static_cast<u32>(old)) + std::bit_cast<float>(static_cast<u32>(b))) : old + b;
        break;
      case kMin: value = less ? b : old; break;
      case kMax: value = less ? old : b; break;
      case kInc: value = old >= b ? 0 : old + 1; break;
      case kDec: value = old == 0 || old > b ? b : old - 1; break;
      case kCas: value = old == b ? w.reg(i.operands[first + 2])[l] : old; break;
      case kAnd: value = old & b; break;
      case kOr: value = old | b; break;
      case kXor: value = old ^ b; break;
      default: break;
    }
    std::memcpy(at, &value, static_cast<std::size_t>(i.width));
    if (first != 0) w.reg(i.operands[0])[l] = old;
    // What the block had fenced before is published here; what others published is known from here on.
    auto& released = block.launch->released[address];
    for (const auto& [writer, epoch] : released) {
      u32& seen = block.seen[writer];
      seen = std::max(seen, epoch);
    }
    if (block.fenced != 0) released[block.index + 1] = block.fenced;
    for (const auto& [writer, epoch] : block.seen) released[writer] = std::max(released[writer], epoch);
  });
}

void barrier(Warp& w, const Instruction& i, u32 lanes) {
  require_lanes(w, i, lanes, w.live(), FindingKind::kBarrier, "the warp has diverged: the other lanes are elsewhere");
  if (w.exited != 0) report(FindingKind::kBarrier, w, i, lanes, "some threads of this warp have exited");
  Launch& launch = *w.block->launch;
  launch.counters->barriers++;
  const int first = std::countr_zero(lanes);
  const u64 id = w.reg(i.operands[0])[first];
  if (id >= 16) report(FindingKind::kBarrier, w, i, lanes, "there are 16 barriers");
  const u32 expected = i.operands.size() > 1 ? static_cast<u32>(w.reg(i.operands[1])[first]) : 0;
  if (expected % 32 != 0) report(FindingKind::kBarrier, w, i, lanes, "the thread count is no multiple of 32");
  Barrier& b = w.block->barriers[id];
  if (b.arrived != 0 && b.expected != expected) report(FindingKind::kBarrier, w, i, lanes, "the warps give different thread counts");
  if (i.kind != 0 && expected == 0) report(FindingKind::kBarrier, w, i, lanes, "bar.arrive without a thread count");
  if ((b.warps >> w.index & 1) != 0)
    report(FindingKind::kBarrier, w, i, lanes, "the warp arrives twice at barrier " + std::to_string(id) + " before it is complete");
  b.expected = expected;
  b.arrived += 32;
  b.warps |= u32{1} << w.index;
  if (b.clock.empty()) b.clock.assign(w.clock.size(), 0);
  sync_lanes(w);
  join(b.clock, w.clock);
  w.block->cluster->progress++;
  if (i.kind == 0) {
    w.state = WarpState::kBarrier;
    w.barrier = static_cast<int>(id);
  }
  // At once: the next arrival is of the next phase.
  if (expected != 0 && b.arrived >= expected) complete_barrier(*w.block, static_cast<int>(id));
}

void warp_barrier(Warp& w, const Instruction& i, u32 lanes) {
  for_lanes(lanes, [&](int l) {
    require_lanes(w, i, lanes, static_cast<u32>(w.reg(i.operands[0])[l]), FindingKind::kDivergence, "the member mask is not the lanes that arrive together");
  });
  sync_lanes(w);
}

void gpu_fence(Warp& w, const Instruction&, u32) {
  w.fenced = w.clock;
  w.fenced[w.component] = ++w.clock[w.component];
  w.block->epoch++;
  w.block->fenced = w.block->epoch;
}

void nothing(Warp&, const Instruction&, u32) {}

Space space_in(const std::vector<std::string>& parts) {
  for (const auto& part : parts) {
    if (part == "global") return kGlobal;
    if (part == "shared" || part == "shared::cta" || part == "shared::cluster") return kShared;
    if (part == "local") return kLocal;
    if (part == "param") return kParam;
    if (part == "const") return kConst;
  }
  return kGeneric;
}

}  // namespace

bool decode_memory(Instruction& i, const std::vector<std::string>& parts) {
  const auto has = [&](const char* part) { return std::find(parts.begin() + 1, parts.end(), part) != parts.end(); };
  const std::string& op = parts[0];
  const std::string& type = parts.back();
  const Space space = space_in(parts);
  if (op == "ld" || op == "st") {
    static const std::set<std::string> known = {
        "ld",       "st",       "global",  "shared", "local", "param",    "const",   "shared::cta",     "shared::cluster", "nc",
        "ca",       "cg",       "cs",      "lu",     "cv",    "wb",       "wt",      "L1::no_allocate", "L1::evict_last",  "L1::evict_first",
        "L2::128B", "L2::256B", "L2::64B", "v2",     "v4",    "volatile", "relaxed", "acquire",         "release",         "weak",
        "gpu",      "cluster",  "cta",     "sys"};
    for (std::size_t n = 0; n + 1 < parts.size(); n++) {
      if (known.count(parts[n]) == 0) return false;
    }
    i.width = type.back() == '8' ? 1 : type.back() == '6' ? 2 : type.back() == '2' ? 4 : 8;
    if (type == "b128") return false;
    i.count = has("v4") ? 4 : has("v2") ? 2 : 1;
    i.kind = space;
    i.flags = (has("nc") ? 1 : 0) | (type[0] == 's' ? 2 : 0);
    if (static_cast<int>(i.operands.size()) != i.count + 1) return false;
    i.run = op == "ld" ? load : store;
  } else if (op == "atom" || op == "red") {
    static const char* const kOps[] = {"add", "min", "max", "inc", "dec", "cas", "exch", "and", "or", "xor"};
    const auto found = std::find_if(std::begin(kOps), std::end(kOps), has);
    if (found == std::end(kOps) || type == "f64" || type.find("x2") != std::string::npos || type == "f16" || type == "bf16") return false;
    i.kind = space | static_cast<int>(found - std::begin(kOps)) << 4;
    i.width = type.back() == '4' ? 8 : 4;
    i.flags = (type[0] == 's' ? 1 : 0) | (type == "f32" ? 2 : 0) | (op == "atom" ? 4 : 0);
    i.run = atomic;
  } else if (op == "cvta") {
    const u64 window = space == kShared ? kSharedWindow : space == kLocal ? kLocalWindow : space == kParam ? kParamWindow : 0;
    i.offset = static_cast<std::int64_t>(has("to") ? 0 - window : window);
    i.run = [](Warp& w, const Instruction& i, u32 lanes) {
      for_lanes(lanes, [&](int l) { w.reg(i.operands[0])[l] = w.reg(i.operands[1])[l] + static_cast<u64>(i.offset); });
    };
  } else if (op == "membar" || op == "fence") {
    i.run = has("cta") ? nothing : gpu_fence;
  } else if (op == "bar" || op == "barrier") {
    if (has("warp")) {
      i.run = warp_barrier;
    } else if (has("sync") || has("arrive")) {
      i.kind = has("arrive");
      i.run = barrier;
    } else {
      return false;
    }
  } else if (op == "prefetch" || op == "prefetchu" || op == "discard" || op == "applypriority") {
    i.run = nothing;
  } else {
    return false;
  }
  return true;
}

}  // namespace vgpu
