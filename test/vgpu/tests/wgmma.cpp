// wgmma in every shape, type and layout against plain sums. The layouts here are those of boxes that TMA would copy, row by row, and of core matrices:
// nothing is shared with the formulas of vm/descriptor.h.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "support.h"

namespace {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

/// Values that each type holds exactly, so that every sum is exact. The codes are written down here, not converted.
struct Type {
  const char* name;
  u32 bytes;
  u32 codes[8];
};
constexpr float kValues[8] = {0, 1, -1, 0.5f, -0.5f, 2, -3, 1.5f};
constexpr Type kBf16{"bf16", 2, {0, 0x3f80, 0xbf80, 0x3f00, 0xbf00, 0x4000, 0xc040, 0x3fc0}};
constexpr Type kF16{"f16", 2, {0, 0x3c00, 0xbc00, 0x3800, 0xb800, 0x4000, 0xc200, 0x3e00}};
constexpr Type kE4m3{"e4m3", 1, {0, 0x38, 0xb8, 0x30, 0xb0, 0x40, 0xc4, 0x3c}};
constexpr Type kE5m2{"e5m2", 1, {0, 0x3c, 0xbc, 0x38, 0xb8, 0x40, 0xc2, 0x3e}};

/// How an operand lies: bytes of swizzle (16: none), along K or along its rows, and which step of K of the tile is used.
struct Layout {
  u32 span = 128;
  bool mn_major = false;
  u32 step = 0;
};

struct Case {
  int n = 64;
  Type a = kBf16, b = kBf16;
  bool registers_a = false;
  Layout layout_a{}, layout_b{};
  int sign_a = 1, sign_b = 1;
  bool add = true;
};

struct Tile {
  u32 rows;   // of A, columns of B
  u32 depth;  // elements along K, with the steps that are not used
  Type type;
  Layout layout;

  // A box of rows of `span` bytes: 16-byte chunk c of row r lies at chunk c ^ f(r), where f counts 128-byte lines of the box.
  u32 chunk_in_box(u32 row, u32 chunk) const {
    const u32 s = layout.span;
    const u32 f = s == 128 ? row % 8 : s == 64 ? row / 2 % 4 : s == 32 ? row / 4 % 2 : 0;
    return row * s + (chunk ^ f) * 16;
  }
  u32 place(u32 row, u32 k) const {
    const u32 slow = layout.mn_major ? k : row;                 // row of the box
    const u32 fast = (layout.mn_major ? row : k) * type.bytes;  // byte along it
    const u32 slow_rows = layout.mn_major ? depth : rows;
    if (layout.span == 16) {  // core matrices of 8 x 16 bytes: those along the fast dimension follow each other
      const u32 fast_cores = (layout.mn_major ? rows : depth) * type.bytes / 16;
      return (slow / 8 * fast_cores + fast / 16) * 128 + slow % 8 * 16 + fast % 16;
    }
    return fast / layout.span * slow_rows * layout.span + chunk_in_box(slow, fast % layout.span / 16) + fast % 16;
  }
  u32 bytes() const { return rows * depth * type.bytes; }

  u64 descriptor(u32 base) const {
    const u32 fast_cores = (layout.mn_major ? rows : depth) * type.bytes / 16;
    const u32 step = layout.step * 32 / type.bytes;  // elements
    u32 start, leading, stride;
    if (layout.span == 16) {
      start = place(0, step);
      leading = layout.mn_major ? fast_cores * 128 : 128;
      stride = layout.mn_major ? 128 : fast_cores * 128;
    } else {
      // Of rows and k that are multiples of 8 the pattern is at its beginning: the chunk is at its own place.
      start = layout.mn_major ? step * layout.span : step * type.bytes / layout.span * rows * layout.span + step * type.bytes % layout.span;
      leading = layout.mn_major ? depth * layout.span : 16;
      stride = 8 * layout.span;
    }
    const u64 mode = layout.span == 128 ? 1 : layout.span == 64 ? 2 : layout.span == 32 ? 3 : 0;
    return mode << 62 | u64{stride / 16} << 32 | u64{leading / 16} << 16 | (base + start) / 16;
  }
};

std::string kernel_of(const Case& c, u64 a, u64 b, u32 words) {
  const auto registers = [](const char* name, int first, int count) {
    std::string text;
    for (int i = 0; i < count; i++) text += (i == 0 ? "{" : ",") + std::string(name) + std::to_string(first + i);
    return text + "}";
  };
  const int half = c.n / 2;
  const bool wide = c.a.bytes == 2;
  std::string text =
      ".version 9.0\n.target sm_90a\n.address_size 64\n.extern .shared .align 1024 .b8 tile[];\n.visible .entry k(.param .u64 image, .param .u64 regs, .param "
      ".u64 out)\n{\n"
      ".reg .b64 %q<8>;\n.reg .b32 %r<16>;\n.reg .f32 %f<" +
      std::to_string(half) +
      ">;\n.reg .pred %p<3>;\n"
      "ld.param.u64 %q0, [image]; ld.param.u64 %q1, [regs]; ld.param.u64 %q2, [out];\n"
      "mov.u32 %r0, %tid.x; mov.u32 %r1, tile; mov.u32 %r2, %r0;\n"
      "COPY: setp.ge.u32 %p0, %r2, " +
      std::to_string(words) +
      "; @%p0 bra COPIED;\n"
      "mul.wide.u32 %q3, %r2, 4; add.s64 %q3, %q0, %q3; ld.global.u32 %r3, [%q3]; shl.b32 %r4, %r2, 2; add.s32 %r4, %r1, %r4; st.shared.u32 [%r4], %r3;\n"
      "add.s32 %r2, %r2, 128; bra COPY;\nCOPIED: fence.proxy.async; bar.sync 0;\n"
      "setmaxnreg.dec.sync.aligned.u32 168; bar.sync 0; setmaxnreg.inc.sync.aligned.u32 232;\n"
      "mul.wide.u32 %q3, %r0, 16; add.s64 %q3, %q1, %q3; ld.global.v4.u32 {%r5,%r6,%r7,%r8}, [%q3];\n"
      "mul.wide.u32 %q4, %r0, " +
      std::to_string(half * 4) + "; add.s64 %q4, %q2, %q4;\n";
  for (int i = 0; i < half; i++) text += "ld.global.f32 %f" + std::to_string(i) + ", [%q4+" + std::to_string(4 * i) + "];\n";
  text += "mov.u64 %q5, " + std::to_string(a) + "; mov.u64 %q6, " + std::to_string(b) + "; setp.ne.u32 %p1, " + (c.add ? "1" : "0") +
          ", 0;\nwgmma.fence.sync.aligned;\n"
          "wgmma.mma_async.sync.aligned.m64n" +
          std::to_string(c.n) + "k" + std::to_string(32 / c.a.bytes) + ".f32." + c.a.name + "." + c.b.name + " " + registers("%f", 0, half) + ", " +
          (c.registers_a ? registers("%r", 5, 4) : "%q5") + ", %q6, %p1, " + std::to_string(c.sign_a) + ", " + std::to_string(c.sign_b);
  if (wide && !c.registers_a) text += c.layout_a.mn_major ? ", 1" : ", 0";
  if (wide) text += c.layout_b.mn_major ? ", 1" : ", 0";
  text += ";\nwgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n";
  for (int i = 0; i < half; i++) text += "st.global.f32 [%q4+" + std::to_string(4 * i) + "], %f" + std::to_string(i) + ";\n";
  return text + "ret;\n}\n";
}

u32 align(u32 v) { return (v + 1023) / 1024 * 1024; }

bool run(Gpu& gpu, const Case& c, unsigned seed) {
  Random random(seed);
  const u32 k = 32 / c.a.bytes;
  const auto n = static_cast<u32>(c.n);
  const Tile a{64, k * 4, c.a, c.layout_a}, b{n, k * 4, c.b, c.layout_b};
  const u32 b_at = align(a.bytes());
  std::vector<u8> image(b_at + align(b.bytes()));
  std::vector<u32> values_a(64 * k), values_b(n * k);
  const auto fill = [&](const Tile& tile, u32 base, std::vector<u32>& used) {
    for (u32 row = 0; row < tile.rows; row++) {
      for (u32 at = 0; at < tile.depth; at++) {
        const u32 v = random.next() >> 8 & 7;
        if (at / k == tile.layout.step) used[row * k + at % k] = v;
        std::memcpy(&image[base + tile.place(row, at)], &tile.type.codes[v], tile.type.bytes);
      }
    }
  };
  fill(a, 0, values_a);
  fill(b, b_at, values_b);
  // A's registers: row 16 warp + lane / 4 + 8 (q % 2), bytes 4 (lane % 4) + 16 (q / 2) and on of its 32 bytes along K.
  std::vector<u32> registers(128 * 4);
  for (u32 thread = 0; thread < 128; thread++) {
    for (u32 q = 0; q < 4; q++) {
      const u32 row = thread / 32 * 16 + thread % 32 / 4 + 8 * (q % 2);
      for (u32 byte = 0; byte < 4; byte += c.a.bytes) {
        const u32 at = (thread % 4 * 4 + q / 2 * 16 + byte) / c.a.bytes;
        registers[thread * 4 + q] |= c.a.codes[values_a[row * k + at]] << (8 * byte);
      }
    }
  }
  std::vector<float> d(128 * n / 2), expected(128 * n / 2);
  for (u32 thread = 0; thread < 128; thread++) {
    for (u32 i = 0; i < n / 2; i++) {
      const u32 row = thread / 32 * 16 + thread % 32 / 4 + 8 * (i / 2 % 2), column = i / 4 * 8 + thread % 4 * 2 + i % 2;
      const float before = random.value();
      double sum = c.add ? static_cast<double>(before) : 0;
      for (u32 at = 0; at < k; at++) {
        sum += static_cast<double>(kValues[values_a[row * k + at]] * static_cast<float>(c.sign_a)) *
               static_cast<double>(kValues[values_b[column * k + at]] * static_cast<float>(c.sign_b));
      }
      d[thread * n / 2 + i] = before;
      expected[thread * n / 2 + i] = static_cast<float>(sum);
    }
  }
  CUfunction f = gpu.load(kernel_of(c, a.descriptor(0), b.descriptor(b_at), static_cast<u32>(image.size() / 4)), "k");
  CUdeviceptr p_image = gpu.upload(image), p_registers = gpu.upload(registers), p_out = gpu.upload(d);
  void* arguments[] = {&p_image, &p_registers, &p_out};
  CHECK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(image.size())));
  CHECK(cuLaunchKernel(f, 1, 1, 1, 128, 1, 1, static_cast<unsigned>(image.size()), nullptr, arguments, nullptr));
  CHECK(cuCtxSynchronize());
  const auto got = gpu.download<float>(p_out, d.size());
  for (u32 i = 0; i < d.size(); i++) {
    if (got[i] != expected[i]) {
      std::printf("n %d %s %s%s, A %u bytes%s step %u, B %u bytes%s step %u: thread %u register %u is %g, expected %g\n", c.n, c.a.name, c.b.name,
                  c.registers_a ? " A in registers" : "", c.layout_a.span, c.layout_a.mn_major ? " MN-major" : "", c.layout_a.step, c.layout_b.span,
                  c.layout_b.mn_major ? " MN-major" : "", c.layout_b.step, i / (n / 2), i % (n / 2), static_cast<double>(got[i]),
                  static_cast<double>(expected[i]));
      return false;
    }
  }
  for (CUdeviceptr p : {p_image, p_registers, p_out}) CHECK(cuMemFree(p));
  return true;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (int n = 8; n <= 256; n += 8) {
    Case c;
    c.n = n;
    c.registers_a = n % 16 == 0;
    c.a = c.b = n % 24 == 0 ? kE4m3 : n % 40 == 0 ? kF16 : kBf16;
    if (c.a.bytes == 2 && n % 64 == 0) c.layout_b.mn_major = true;
    all.push_back(c);
  }
  for (u32 span : {16u, 32u, 64u, 128u}) {
    for (u32 step = 0; step < 4; step++) {
      for (int major = 0; major < 4; major++) {
        Case c;
        c.a = c.b = step % 2 == 0 ? kBf16 : kF16;
        c.layout_a = {span, major % 2 != 0, step};
        c.layout_b = {span, major / 2 != 0, 3 - step};
        all.push_back(c);
        if (major == 0) {
          c.a = step % 2 == 0 ? kE4m3 : kE5m2;
          c.b = step < 2 ? kE4m3 : kE5m2;
          all.push_back(c);
        }
      }
    }
  }
  // Columns in several boxes of 64 bytes width, as heads of 96 and 160 features are.
  for (int n : {96, 160}) {
    for (u32 step = 0; step < 4; step++) {
      for (bool mn_major : {false, true}) {
        Case c;
        c.n = n;
        c.a = c.b = step % 2 == 0 ? kF16 : kBf16;
        c.registers_a = mn_major;
        c.layout_a = {64, false, step};
        c.layout_b = {64, mn_major, step};
        all.push_back(c);
      }
    }
  }
  for (int signs = 0; signs < 8; signs++) {
    Case c;
    c.n = 128;
    c.sign_a = signs % 2 != 0 ? -1 : 1;
    c.sign_b = signs / 2 % 2 != 0 ? -1 : 1;
    c.add = signs / 4 != 0;
    c.registers_a = signs % 3 == 0;
    c.layout_b.mn_major = true;
    all.push_back(c);
  }
  return all;
}

}  // namespace

int main() {
  return run_checks([](Gpu& gpu) {
    unsigned seed = 0;
    for (const Case& c : cases()) failures += !run(gpu, c, ++seed);
  });
}
