// wgmma: what is issued, committed and waited for, with the checks of registers. PTX ISA 9.7.15. Operands and products: wgmma_compute.cpp.
//
// Everything happens as late as it may. An issue keeps the descriptors, scale-d and what the warp knows; the first wait of any of the four warps that covers
// the group reads the operands and computes the products. Accumulators and registers of A are in flight until the warp's own wait.
#include "wgmma.h"

#include <algorithm>

#include "products.h"

namespace vgpu {
namespace {

Warpgroup& group_of(Warp& w) { return *w.block->warpgroups[static_cast<std::size_t>(w.index) / 4]; }

std::size_t rank_of(const Warp& w) { return static_cast<std::size_t>(w.index) % 4; }

void require_warpgroup(Warp& w, const Instruction& i, u32 lanes) {
  require_converged(w, i, lanes);
  if (static_cast<std::size_t>(w.index | 3) >= w.block->warps.size())
    report(FindingKind::kWarpgroup, w, i, lanes, "the block has only " + std::to_string(w.block->warps.size()) + " warps, four are a warpgroup");
}

u64 uniform(Warp& w, const Instruction& i, u32 lanes, std::size_t operand, const char* what) {
  const u64* values = w.reg(i.operands[operand]);
  for (int l = 1; l < 32; l++) {
    if (values[l] != values[0])
      report(FindingKind::kWarpgroup, w, i, lanes,
             std::string(what) + " is " + hex(values[0]) + " in lane 0 and " + hex(values[l]) + " in lane " + std::to_string(l));
  }
  return values[0];
}

/// The registers are free of other uses, and a fence lies between those and this.
void check_registers(Warp& w, const Instruction& i, u32 lanes) {
  WarpProducts& own = *w.products;
  if (own.fences == 0) report(FindingKind::kWgmmaFence, w, i, lanes, "no wgmma.fence comes before the first wgmma");
  const auto accumulators = static_cast<u32>(i.width / 2);
  for (u32 place = 0; place < i.products.size(); place++) {
    ProductRegister& r = own.registers[i.products[place]];
    if (r.touched == own.fences + 1)
      report(FindingKind::kWgmmaFence, w, i, lanes, "its register " + std::to_string(place) + " was read or written since the last wgmma.fence");
    const bool in_flight = r.last > own.done;
    const bool holds_a = place >= accumulators;
    const bool held_a = in_flight && r.place >= static_cast<u32>(r.instruction->width / 2);
    // Products of one shape follow each other in the same accumulators; A may be read by many.
    const bool chained = in_flight && !held_a && !holds_a && r.place == place && r.instruction->width == i.width && r.instruction->count == i.count;
    if (in_flight && !chained && !(held_a && holds_a)) {
      report(FindingKind::kRegisterInFlight, w, i, lanes,
             "its register " + std::to_string(place) + " belongs to a wgmma that no wgmma.wait_group has covered, issued at " +
                 where(*w.block->launch, *r.instruction));
    }
    r.last = own.issued + 1;
    r.instruction = &i;
    r.place = place;
  }
}

void issue(Warp& w, const Instruction& i, u32 lanes) {
  require_warpgroup(w, i, lanes);
  const bool checks = w.block->launch->checks;
  Warpgroup& group = group_of(w);
  WarpProducts& own = *w.products;
  const std::size_t accumulators = static_cast<std::size_t>(i.width) / 2;
  const bool registers_a = (i.flags & kRegistersA) != 0;
  const std::size_t b = accumulators + (registers_a ? 4 : 1);
  Product product;
  product.instruction = &i;
  product.a = registers_a ? 0 : uniform(w, i, lanes, accumulators, "the descriptor of A");
  product.b = uniform(w, i, lanes, b, "the descriptor of B");
  product.add = (uniform(w, i, lanes, b + 1, "scale-d") != 0) != i.negated[b + 1];
  if (checks) check_registers(w, i, lanes);
  const u64 number = own.issued++ - group.first_product;
  if (number == group.products.size()) {
    group.products.push_back(product);
  } else {
    const Product& other = group.products[number];
    if (other.instruction != &i || other.a != product.a || other.b != product.b || other.add != product.add) {
      report(FindingKind::kWarpgroup, w, i, lanes,
             "another warp of the warpgroup issued as its product " + std::to_string(own.issued - 1) + " one with descriptors " + hex(other.a) + " and " +
                 hex(other.b) + (other.add ? ", adding" : ", not adding") + "; here they are " + hex(product.a) + " and " + hex(product.b) +
                 (product.add ? ", adding" : ", not adding") + "\n  " + where(*w.block->launch, *other.instruction));
    }
  }
  group.products[number].issues[rank_of(w)] = issue_async(w);
}

void commit(Warp& w, const Instruction& i, u32 lanes) {
  require_warpgroup(w, i, lanes);
  Warpgroup& group = group_of(w);
  WarpProducts& own = *w.products;
  const u64 number = own.committed++ - group.first_group;
  if (number == group.groups.size()) {
    group.groups.push_back({own.issued, 0});
  } else if (group.groups[number].end != own.issued) {
    report(FindingKind::kWarpgroup, w, i, lanes,
           "another warp of the warpgroup committed its group " + std::to_string(own.committed - 1) + " after " + std::to_string(group.groups[number].end) +
               " products, this one after " + std::to_string(own.issued));
  }
  own.committed_products = own.issued;
  w.block->cluster->progress++;
}

void wait_group(Warp& w, const Instruction& i, u32 lanes) {
  require_warpgroup(w, i, lanes);
  Warpgroup& group = group_of(w);
  WarpProducts& own = *w.products;
  const u64 may_stay = w.reg(i.operands[0])[0];
  const u64 target = own.committed > may_stay ? own.committed - may_stay : 0;
  if (target <= own.waited) return;
  Warp* const warps = &w.block->warps[static_cast<std::size_t>(w.index & ~3)];
  for (int n = 0; n < 4; n++) {
    if (warps[n].products->committed < target) throw NotYet{};  // a product is one of all four warps
  }
  u64 first = group.first_product;
  for (u64 g = group.first_group; g < target; g++) {
    ProductGroup& pending = group.groups[g - group.first_group];
    if (pending.clock == 0) {
      for (u64 n = first; n < pending.end;) n = compute(w, group, n, pending.end);
      pending.clock = w.block->launch->checks ? end_reads(w, wgmma_component(w)) : 1;
    }
    first = pending.end;
  }
  const ProductGroup& last = group.groups[target - 1 - group.first_group];
  if (w.block->launch->checks) know(w, wgmma_component(w), last.clock);
  own.waited = target;
  own.done = last.end;
  u64 everywhere = target;
  for (int n = 0; n < 4; n++) everywhere = std::min(everywhere, warps[n].products->waited);
  for (; group.first_group < everywhere; group.first_group++) {
    for (; group.first_product < group.groups.front().end; group.first_product++) group.products.pop_front();
    group.groups.pop_front();
  }
  w.block->cluster->progress++;
}

void fence(Warp& w, const Instruction& i, u32 lanes) {
  require_warpgroup(w, i, lanes);
  w.products->fences++;
}

}  // namespace

void touch_product_registers(Warp& w, const Instruction& i, u32 lanes) {
  if (!w.block->launch->checks) return;
  WarpProducts& own = *w.products;
  for (const u32 number : i.products) {
    ProductRegister& r = own.registers[number];
    if (r.last > own.done) {
      report(FindingKind::kRegisterInFlight, w, i, lanes,
             std::string(r.place < static_cast<u32>(r.instruction->width / 2) ? "an accumulator" : "a register of A") +
                 " of a wgmma that no wgmma.wait_group has covered, issued at " + where(*w.block->launch, *r.instruction));
    }
    r.touched = own.fences + 1;
  }
}

void exit_products(Warp& w, const Instruction& i, u32 lanes) {
  const WarpProducts& own = *w.products;
  if ((w.live() & ~lanes) != 0 || !w.block->launch->checks) return;
  if (own.issued != own.committed_products)
    report(FindingKind::kOpenProducts, w, i, lanes, std::to_string(own.issued - own.committed_products) + " products were issued and never committed");
  if (own.committed != own.waited)
    report(FindingKind::kOpenProducts, w, i, lanes, std::to_string(own.committed - own.waited) + " groups were committed and never waited for");
}

void number_product_registers(Function& function) {
  std::vector<u32> numbers(function.slots.size(), 0);  // + 1
  u32 next = 0;
  for (Instruction& i : function.code) {
    if (i.opcode != "wgmma" || i.width == 0) continue;
    const int count = i.width / 2 + ((i.flags & kRegistersA) != 0 ? 4 : 0);
    for (int n = 0; n < count; n++) {
      u32& number = numbers[i.operands[static_cast<std::size_t>(n)]];
      if (number == 0) number = ++next;
      i.products.push_back(number - 1);
    }
  }
  function.product_registers = next;
  if (next == 0) return;
  for (Instruction& i : function.code) {
    if (i.opcode == "wgmma") continue;
    for (const u32 slot : i.operands) {
      if (numbers[slot] != 0) i.products.push_back(numbers[slot] - 1);
    }
    i.touches_products = !i.products.empty();
  }
}

// width: n, count: k, kind: the elements of A | of B << 4, flags: WgmmaFlags
bool decode_wgmma(Instruction& i, const std::vector<std::string>& parts) {
  if (parts.size() < 4 || parts[2] != "sync" || parts[3] != "aligned") return false;
  if (parts[1] == "fence") {
    i.run = fence;
  } else if (parts[1] == "commit_group") {
    i.run = commit;
  } else if (parts[1] == "wait_group") {
    i.run = wait_group;
  } else if (parts[1] == "mma_async" && parts.size() == 8 && parts[5] == "f32") {
    int rows = 0;
    if (std::sscanf(parts[4].c_str(), "m%dn%dk%d", &rows, &i.width, &i.count) != 3 || rows != kWgmmaRows) return false;
    const auto element = [](const std::string& name) {
      return name == "f16" ? WgmmaElement::kF16 : name == "bf16" ? WgmmaElement::kBf16 : name == "e4m3" ? WgmmaElement::kE4m3 : WgmmaElement::kE5m2;
    };
    for (int n = 6; n < 8; n++) {
      if (parts[n] != "f16" && parts[n] != "bf16" && parts[n] != "e4m3" && parts[n] != "e5m2") return false;
    }
    const WgmmaElement a = element(parts[6]);
    const WgmmaElement b = element(parts[7]);
    const bool wide = bytes_of(a) == 2;
    if (bytes_of(b) != bytes_of(a) || (wide && a != b) || i.count * bytes_of(a) != 32) return false;
    if (i.width < 8 || i.width > kWgmmaColumns || i.width % 8 != 0) return false;
    i.kind = static_cast<int>(a) | static_cast<int>(b) << 4;
    // {d}, a, b, scale-d, scale-a, scale-b and, for 16-bit types, what of a and b in shared memory is MN-major
    const auto d = static_cast<std::size_t>(i.width) / 2;
    const bool registers_a = i.text.find('{', i.text.find('}')) != std::string::npos;
    const std::size_t immediates = d + (registers_a ? 6 : 3);
    const std::size_t transposed = !wide ? 0 : registers_a ? 1 : 2;
    if (i.operands.size() != immediates + 2 + transposed) return false;
    i.flags = registers_a ? kRegistersA : 0;
    std::vector<int> values;  // what stands behind the last brace, from the end
    for (std::size_t comma = i.text.rfind(','), n = 0; n < 2 + transposed; n++, comma = i.text.rfind(',', comma - 1)) {
      values.insert(values.begin(), std::atoi(i.text.c_str() + comma + 1));
    }
    if (std::abs(values[0]) != 1 || std::abs(values[1]) != 1) return false;
    if (values[0] < 0) i.flags |= kNegateA;
    if (values[1] < 0) i.flags |= kNegateB;
    if (transposed != 0 && values.back() != 0) i.flags |= kMajorB;
    if (transposed == 2 && values[2] != 0) i.flags |= kMajorA;
    i.run = issue;
  } else {
    return false;
  }
  return true;
}

}  // namespace vgpu
