// Control flow, shuffles and votes. PTX ISA 9.7.9.6 and 9.7.12.
#include "bulk.h"
#include "lanes.h"
#include "wgmma.h"

namespace vgpu {
namespace {

// ---- Control flow and the warp ----

void exit_lanes(Warp& w, const Instruction& i, u32 lanes) {
  for (const PendingCopy& copy : w.copies) {
    if (lanes >> copy.lane & 1)
      report(FindingKind::kOpenCopies, w, *copy.instruction, u32{1} << copy.lane, "no cp.async.wait covers this copy before the thread exits");
  }
  if (!w.bulk_stores.empty()) exit_bulk(w, lanes);
  if (w.products != nullptr) {
    exit_products(w, i, lanes);
    exit_registers(w, i, lanes);
  }
  w.exited |= lanes;
}

/// shfl.sync.mode d[|p], a, b, c, mask. PTX ISA 9.7.9.6.
void shuffle(Warp& w, const Instruction& i, u32 lanes) {
  const int q = i.flags;
  const u64* a = source(w, i, 1 + q);
  const u64* b = source(w, i, 2 + q);
  const u64* c = source(w, i, 3 + q);
  const u64* mask = source(w, i, 4 + q);
  u64 values[32];
  std::copy(a, a + 32, values);
  for_lanes(lanes, [&](int l) {
    const int clamp = static_cast<int>(c[l] & 31);
    const int segment = static_cast<int>(c[l] >> 8 & 31);
    const int b_lane = static_cast<int>(b[l] & 31);
    const int highest = (l & segment) | (clamp & ~segment);
    const int lowest = l & segment;
    int j = 0;
    bool inside = false;
    switch (i.kind) {
      case 0: j = l - b_lane, inside = j >= highest; break;              // up
      case 1: j = l + b_lane, inside = j <= highest; break;              // down
      case 2: j = l ^ b_lane, inside = j <= highest; break;              // bfly
      default: j = lowest | (b_lane & ~segment), inside = j <= highest;  // idx
    }
    if (!inside) j = l;
    if ((lanes >> j & 1) == 0) report(FindingKind::kShuffle, w, i, u32{1} << l, "lane " + std::to_string(j) + " does not take part");
    if ((mask[l] >> j & 1) == 0) report(FindingKind::kShuffle, w, i, u32{1} << l, "lane " + std::to_string(j) + " is not in the member mask");
    target(w, i)[l] = values[j] & 0xffffffff;
    if (q != 0) target(w, i, 1)[l] = inside;
  });
}

/// Members of a .sync instruction must all be here; the scheduler has waited for them.
void check_members(Warp& w, const Instruction& i, u32 lanes, const u64* mask) {
  for_lanes(lanes, [&](int l) {
    const auto members = static_cast<u32>(mask[l]);
    if (members != lanes) {
      require_lanes(w, i, lanes, members, FindingKind::kDivergence,
                    "the member mask " + std::to_string(members) + " is not the lanes that arrive together, " + std::to_string(lanes));
    }
  });
}

}  // namespace

Handler decode_warp(Instruction& i, const Mods& m) {
  const std::string& op = i.opcode;
  if (op == "shfl" && m.has("sync")) {
    i.kind = m.has("up") ? 0 : m.has("down") ? 1 : m.has("bfly") ? 2 : 3;
    i.flags = i.operands.size() == 6;
    return [](Warp& w, const Instruction& i, u32 lanes) {
      check_members(w, i, lanes, source(w, i, static_cast<int>(i.operands.size()) - 1));
      shuffle(w, i, lanes);
    };
  }
  if (op == "vote" && m.has("sync")) {
    i.kind = m.has("any") ? 0 : m.has("all") ? 1 : m.has("uni") ? 2 : 3;
    return [](Warp& w, const Instruction& i, u32 lanes) {
      check_members(w, i, lanes, source(w, i, 2));
      u32 votes = 0;
      for_lanes(lanes, [&](int l) { votes |= static_cast<u32>((source(w, i, 1)[l] != 0) != i.negated[1]) << l; });
      const u64 result = i.kind == 0 ? votes != 0 : i.kind == 1 ? votes == lanes : i.kind == 2 ? votes == lanes || votes == 0 : votes;
      for_lanes(lanes, [&](int l) { target(w, i)[l] = result; });
    };
  }
  if (op == "match" && m.has("any") && m.type() == "b32") {
    return [](Warp& w, const Instruction& i, u32 lanes) {
      check_members(w, i, lanes, source(w, i, 2));
      u64 values[32];
      std::copy(source(w, i, 1), source(w, i, 1) + 32, values);
      for_lanes(lanes, [&](int l) {
        u64 same = 0;
        for_lanes(lanes, [&](int k) { same |= static_cast<u64>(static_cast<u32>(values[k]) == static_cast<u32>(values[l])) << k; });
        target(w, i)[l] = same;
      });
    };
  }
  if (op == "redux" && m.has("sync")) {
    i.kind = m.has("add") ? 0 : m.has("min") ? 1 : m.has("max") ? 2 : m.has("and") ? 3 : m.has("or") ? 4 : 5;
    i.flags = m.type()[0] == 's';
    return [](Warp& w, const Instruction& i, u32 lanes) {
      check_members(w, i, lanes, source(w, i, 2));
      bool first = true;
      i64 sum = 0;
      for_lanes(lanes, [&](int l) {
        const u64 raw = source(w, i, 1)[l];
        const i64 v = i.flags != 0 ? get<i32>(raw) : static_cast<i64>(static_cast<u32>(raw));
        sum = first         ? v
              : i.kind == 0 ? sum + v
              : i.kind == 1 ? std::min(sum, v)
              : i.kind == 2 ? std::max(sum, v)
              : i.kind == 3 ? sum & v
              : i.kind == 4 ? sum | v
                            : sum ^ v;
        first = false;
      });
      for_lanes(lanes, [&](int l) { target(w, i)[l] = static_cast<u32>(sum); });
    };
  }
  if (op == "elect" && m.has("sync")) {  // d|p, members: one lane has p, the same one whenever the members are the same; which one, nobody promises
    return [](Warp& w, const Instruction& i, u32 lanes) {
      check_members(w, i, lanes, source(w, i, 2));
      const u64 seed = w.block->launch->seed;
      const int leader = seed % 2 == 0 ? std::countr_zero(lanes) : 31 - std::countl_zero(lanes);
      for_lanes(lanes, [&](int l) {
        target(w, i)[l] = static_cast<u64>(leader);
        target(w, i, 1)[l] = l == leader;
      });
    };
  }
  if (op == "activemask") {
    return [](Warp& w, const Instruction& i, u32 lanes) { for_lanes(lanes, [&](int l) { target(w, i)[l] = lanes; }); };
  }
  if (op == "bra") {
    return [](Warp& w, const Instruction&, u32 lanes) { w.branch_lanes = lanes; };
  }
  if (op == "ret" || op == "exit") return exit_lanes;
  if (op == "trap") {
    return [](Warp& w, const Instruction& i, u32 lanes) { report(FindingKind::kTrap, w, i, lanes, "trap"); };
  }
  if (op == "nanosleep") {
    return [](Warp& w, const Instruction&, u32) { w.yield = true; };
  }
  return nullptr;
}

}  // namespace vgpu
