// The operands of wgmma as float tiles, and its products. Layouts: descriptor.h, products.h, fragments.h.
#include <algorithm>

#include "descriptor.h"
#include "products.h"
#include "wgmma.h"

namespace vgpu {
namespace {

constexpr u32 kChunk = 16;  // bytes

struct Operand {
  Descriptor at;
  const char* name;
  WgmmaElement element;
  bool mn_major;
  u32 rows;  // of A, columns of B
};

[[noreturn]] void misuse(Warp& w, const Instruction& i, const Operand& o, const std::string& what) {
  report(FindingKind::kDescriptor, w, i, kAllLanes, std::string("the descriptor of ") + o.name + ", at shared + " + hex(o.at.start) + ": " + what);
}

/// A descriptor that leaves the pattern that its tile has would read other rows or columns than it says.
void check_descriptor(Warp& w, const Instruction& i, const Operand& o) {
  const Descriptor& d = o.at;
  if (d.reserved != 0) misuse(w, i, o, "bits " + hex(d.reserved) + " must be 0");
  if (d.swizzle == Swizzle::kNone) {
    if (d.base != 0) misuse(w, i, o, "a base offset without swizzle");
    return;
  }
  const u32 inside = (d.start - d.base) % d.pattern();
  if (inside >= d.span()) {
    misuse(w, i, o,
           "begins " + std::to_string(inside) + " bytes behind a multiple of " + std::to_string(d.pattern()) + ", which is in row " +
               std::to_string(inside / d.span()) + " of the swizzle's pattern and not what its base offset " + std::to_string(d.base >> 7) + " says");
  }
  const u32 width = o.mn_major ? std::min(o.rows * 2, d.span()) : 32;
  if (inside + width > d.span() && (!o.mn_major || inside != 0))
    misuse(w, i, o,
           std::to_string(width) + " bytes from byte " + std::to_string(inside) + " of a row on cross the end of its " + std::to_string(d.span()) + " bytes");
  const bool uses_stride = o.mn_major || o.rows > 8;
  const bool uses_leading = o.mn_major && o.rows * 2 > d.span();
  if (uses_stride && d.stride % d.pattern() != 0)
    misuse(w, i, o, "the stride offset " + std::to_string(d.stride) + " is no multiple of " + std::to_string(d.pattern()) + " bytes");
  if (uses_leading && d.leading % d.pattern() != 0)
    misuse(w, i, o, "the leading offset " + std::to_string(d.leading) + " is no multiple of " + std::to_string(d.pattern()) + " bytes");
}

/// What all four warps knew: a part of an operand that they share must be there for each of them.
AsyncIssue common(const AsyncIssue (&issues)[4]) {
  AsyncIssue all = issues[0];
  for (int n = 1; n < 4; n++) {
    for (std::size_t c = 0; c < all.clock.size() && c < issues[n].clock.size(); c++) all.clock[c] = std::min(all.clock[c], issues[n].clock[c]);
  }
  return all;
}

void read_chunk(Warp& w, const Instruction& i, const AsyncIssue& issue, const Operand& o, u32 address, u32 reader, u8* to) {
  std::memcpy(to, async_read(w, i, issue, address, kChunk, o.at.swizzle, reader), kChunk);
}

/// Rows `first` to `first` + `count` along K: out[row][k], k elements of 32 bytes.
void read_rows(Warp& w, const Instruction& i, const AsyncIssue& issue, const Operand& o, u32 first, u32 count, float sign, float* out) {
  const u32 reader = w.block->launch->checks ? wgmma_component(w) : 0;
  const auto depth = static_cast<std::size_t>(i.count);
  u8 bytes[kWgmmaColumns * 32];
  if (!o.mn_major) {
    for (u32 r = 0; r < count; r++) {
      for (u32 c = 0; c < 2; c++) read_chunk(w, i, issue, o, o.at.k_major(first + r, c), reader, bytes + r * 32 + c * kChunk);
    }
    to_floats(bytes, o.element, static_cast<int>(count * depth), sign, out);
    return;
  }
  float eight[8];
  for (u32 k = 0; k < depth; k++) {
    for (u32 r = 0; r < count; r += 8) {
      read_chunk(w, i, issue, o, o.at.mn_major(k, first + r), reader, bytes);
      to_floats(bytes, o.element, 8, sign, eight);
      for (u32 n = 0; n < 8; n++) out[(r + n) * depth + k] = eight[n];
    }
  }
}

/// B as [k][n].
void read_b(Warp& w, const Instruction& i, const AsyncIssue& issue, const Operand& o, float sign, float* out) {
  const auto depth = static_cast<std::size_t>(i.count);
  if (o.mn_major) {
    const u32 reader = w.block->launch->checks ? wgmma_component(w) : 0;
    u8 bytes[kWgmmaColumns * 2];
    for (u32 k = 0; k < depth; k++) {
      for (u32 c = 0; c < o.rows; c += 8) read_chunk(w, i, issue, o, o.at.mn_major(k, c), reader, bytes + c * 2);
      to_floats(bytes, o.element, static_cast<int>(o.rows), sign, out + k * kWgmmaColumns);
    }
    return;
  }
  static thread_local float rows[kWgmmaColumns * kWgmmaDepth];
  read_rows(w, i, issue, o, 0, o.rows, sign, rows);
  for (u32 c = 0; c < o.rows; c++) {
    for (std::size_t k = 0; k < depth; k++) out[k * kWgmmaColumns + c] = rows[c * depth + k];
  }
}

/// A of one warp from its four registers: with 16-bit elements as in mma.m16n8k16 (fragments.h); with 8-bit ones register q of lane l holds row
/// l / 4 + 8 (q % 2), columns 4 (l % 4) + 16 (q / 2) and the next three. PTX ISA 9.7.15.5.1.1 "Register Fragments", A.
void read_registers(Warp& w, const Instruction& i, WgmmaElement element, float sign, float* out) {
  const auto depth = static_cast<std::size_t>(i.count);
  const std::size_t each = 4 / static_cast<std::size_t>(bytes_of(element));  // elements of a register
  for (std::size_t q = 0; q < 4; q++) {
    const u64* values = w.reg(i.operands[static_cast<std::size_t>(i.width) / 2 + q]);
    u8 bytes[32 * 4];
    float floats[32 * 4];
    for (int l = 0; l < 32; l++) std::memcpy(bytes + 4 * l, &values[l], 4);
    to_floats(bytes, element, static_cast<int>(32 * each), sign, floats);
    for (std::size_t l = 0; l < 32; l++) {
      float* const row = out + (l / 4 + 8 * (q % 2)) * depth + each * (l % 4) + 4 * each * (q / 2);
      std::copy(floats + each * l, floats + each * l + each, row);
    }
  }
}

void one_product(Warp& w, const Product& p, float* c) {
  const Instruction& i = *p.instruction;
  static thread_local float a[kWgmmaRows * kWgmmaDepth];
  static thread_local float b[kWgmmaDepth * kWgmmaColumns];
  const Operand of_a{Descriptor(p.a), "A", static_cast<WgmmaElement>(i.kind & 15), (i.flags & kMajorA) != 0, kWgmmaRows};
  const Operand of_b{Descriptor(p.b), "B", static_cast<WgmmaElement>(i.kind >> 4), (i.flags & kMajorB) != 0, static_cast<u32>(i.width)};
  const float sign_a = (i.flags & kNegateA) != 0 ? -1.0f : 1.0f;
  const float sign_b = (i.flags & kNegateB) != 0 ? -1.0f : 1.0f;
  const bool checks = w.block->launch->checks;
  if (checks && (i.flags & kRegistersA) == 0) check_descriptor(w, i, of_a);
  if (checks) check_descriptor(w, i, of_b);
  Warp* const warps = &w.block->warps[static_cast<std::size_t>(w.index & ~3)];
  for (u32 n = 0; n < 4; n++) {  // a warp's part of A is its own rows: what it knows is enough
    float* const rows = a + n * 16 * static_cast<u32>(i.count);
    if ((i.flags & kRegistersA) != 0) {
      read_registers(warps[n], i, of_a.element, sign_a, rows);
    } else {
      read_rows(warps[n], i, p.issues[n], of_a, 16 * n, 16, sign_a, rows);
    }
  }
  read_b(w, i, common(p.issues), of_b, sign_b, b);
  multiply(c, a, b, i.width, i.count);
  Counters& counters = *w.block->launch->counters;
  counters.wgmmas++;
  counters.wgmma_flops += static_cast<u64>(2 * kWgmmaRows * i.width * i.count);
}

bool same_accumulators(const Instruction& x, const Instruction& y) {
  return &x == &y || (x.width == y.width && std::equal(x.operands.begin(), x.operands.begin() + x.width / 2, y.operands.begin()));
}

}  // namespace

u64 compute(Warp& w, Warpgroup& group, u64 number, u64 end) {
  alignas(64) static thread_local float c[kWgmmaRows * kWgmmaColumns];
  const Instruction& first = *group.products[number - group.first_product].instruction;
  Warp* const warps = &w.block->warps[static_cast<std::size_t>(w.index & ~3)];
  u64* registers[4][kWgmmaColumns / 2];
  for (int n = 0; n < 4; n++) {
    for (std::size_t r = 0; r < static_cast<std::size_t>(first.width) / 2; r++) registers[n][r] = warps[n].reg(first.operands[r]);
  }
  bool loaded = false;
  for (; number < end; number++) {
    const Product& p = group.products[number - group.first_product];
    if (!same_accumulators(*p.instruction, first)) break;
    if (!p.add) {
      std::fill(c, c + kWgmmaRows * kWgmmaColumns, 0.0f);
    } else if (!loaded) {
      for (int n = 0; n < 4; n++) accumulators_to_tile(registers[n], first.width, c + 16 * n * kWgmmaColumns);
    }
    loaded = true;
    one_product(w, p, c);
  }
  for (int n = 0; n < 4; n++) tile_to_accumulators(c + 16 * n * kWgmmaColumns, first.width, registers[n]);
  return number;
}

}  // namespace vgpu
