// Loads, stores, atomics, fences and barriers, with the checks of every access: those of shared memory are in shared.cpp, of global memory in global.cpp.
#include <algorithm>
#include <bit>
#include <set>

#include "warp.h"

namespace vgpu {

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
