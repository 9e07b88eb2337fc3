// One instruction at a time, against a scalar model: 32 lanes load three operands each, run it and store the result.
// Tensor instructions are compared with products of whole matrices, whose elements are placed by the formulas of the PTX manual.
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>

#include "support.h"

namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

Random numbers(7);

void expect(const std::string& name, int lane, u64 got, u64 wanted) {
  if (got != wanted && ++failures < 20)
    std::printf("%s, lane %d: %llx, expected %llx\n", name.c_str(), lane, static_cast<unsigned long long>(got), static_cast<unsigned long long>(wanted));
}

/// The instruction reads %a, %b, %c (64-bit registers; %wa … 32 bits, %fa … floats) and writes %d (%wd, %fd).
std::string module_of(const std::string& body) {
  return ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
         ".reg .b64 %a, %b, %c, %d, %in, %out, %at;\n.reg .b32 %wa, %wb, %wc, %wd, %t;\n.reg .f32 %fa, %fb, %fc, %fd;\n.reg .b16 %ha, %hb, %hd;\n.reg .pred "
         "%p, %q;\n"
         "ld.param.u64 %in, [in];\nld.param.u64 %out, [out];\nmov.u32 %t, %tid.x;\nmul.wide.u32 %at, %t, 24;\nadd.s64 %at, %in, %at;\n"
         "ld.global.u64 %a, [%at];\nld.global.u64 %b, [%at+8];\nld.global.u64 %c, [%at+16];\n"
         "cvt.u32.u64 %wa, %a;\ncvt.u32.u64 %wb, %b;\ncvt.u32.u64 %wc, %c;\nmov.b32 %fa, %wa;\nmov.b32 %fb, %wb;\nmov.b32 %fc, %wc;\ncvt.u16.u64 %ha, "
         "%a;\ncvt.u16.u64 %hb, %b;\nmov.u64 %d, 0;\n" +
         body + "\nmul.wide.u32 %at, %t, 8;\nadd.s64 %at, %out, %at;\nst.global.u64 [%at], %d;\nret;\n}\n";
}

using Model = std::function<u64(u64, u64, u64)>;

void test(Gpu& gpu, const std::string& instruction, bool floats, const Model& model, u64 mask_b = ~u64{0}, u64 mask_c = ~u64{0}) {
  const bool w = instruction.find("%wd") != std::string::npos;
  const bool f = instruction.find("%fd") != std::string::npos;
  const bool p = instruction.find("%p,") != std::string::npos;
  std::string body = instruction;
  if (w) body += "\ncvt.u64.u32 %d, %wd;";
  if (f) body += "\nmov.b32 %wd, %fd;\ncvt.u64.u32 %d, %wd;";
  if (p) body += "\nselp.b64 %d, 1, 0, %p;";
  std::vector<u64> in(96);
  for (std::size_t n = 0; n < 96; n++) {
    in[n] = floats ? std::bit_cast<u32>(numbers.value() * (n % 5 == 0 ? 1.37f : 1.0f)) : u64{numbers.next()} << 32 | numbers.next();
    if (!floats && n % 3 == 1) in[n] &= mask_b;
    if (!floats && n % 3 == 2) in[n] &= mask_c;
  }
  CUdeviceptr pin = gpu.upload(in), pout = gpu.empty(256);
  gpu.launch(gpu.load(module_of(body), "k"), 1, 32, {&pin, &pout});
  const auto out = gpu.download<u64>(pout, 32);
  for (std::size_t l = 0; l < 32; l++) expect(instruction, static_cast<int>(l), out[l], model(in[3 * l], in[3 * l + 1], in[3 * l + 2]));
}

float F(u64 bits) { return std::bit_cast<float>(static_cast<u32>(bits)); }
u64 B(float value) { return std::bit_cast<u32>(value); }
u32 W(u64 v) { return static_cast<u32>(v); }
i32 S(u64 v) { return static_cast<i32>(v); }

void integers(Gpu& gpu) {
  const auto t = [&](const char* text, const Model& model, u64 mask_b = ~u64{0}, u64 mask_c = ~u64{0}) { test(gpu, text, false, model, mask_b, mask_c); };
  t("add.s32 %wd, %wa, %wb;", [](u64 a, u64 b, u64) { return W(a + b); });
  t("sub.s64 %d, %a, %b;", [](u64 a, u64 b, u64) { return a - b; });
  t("mul.lo.s32 %wd, %wa, %wb;", [](u64 a, u64 b, u64) { return W(a * b); });
  t("mul.hi.s32 %wd, %wa, %wb;", [](u64 a, u64 b, u64) { return W(static_cast<u64>(i64{S(a)} * S(b) >> 32)); });
  t("mul.hi.u32 %wd, %wa, %wb;", [](u64 a, u64 b, u64) { return u64{W(a)} * W(b) >> 32; });
  t("mul.wide.s32 %d, %wa, %wb;", [](u64 a, u64 b, u64) { return static_cast<u64>(i64{S(a)} * S(b)); });
  t("mul.wide.u16 %wd, %ha, %hb;", [](u64 a, u64 b, u64) { return (a & 0xffff) * (b & 0xffff); });
  t("mad.lo.s32 %wd, %wa, %wb, %wc;", [](u64 a, u64 b, u64 c) { return W(a * b + c); });
  t("mad.wide.u32 %d, %wa, %wb, %c;", [](u64 a, u64 b, u64 c) { return u64{W(a)} * W(b) + c; });
  t("div.u32 %wd, %wa, %wb;", [](u64 a, u64 b, u64) { return u64{W(b) == 0 ? ~0u : W(a) / W(b)}; });
  t(
      "rem.s64 %d, %a, %b;", [](u64 a, u64 b, u64) { return static_cast<u64>(static_cast<i64>(a) % static_cast<i64>(b)); }, 0xffff);
  t(
      "div.s64 %d, %a, %b;", [](u64 a, u64 b, u64) { return static_cast<u64>(static_cast<i64>(a) / static_cast<i64>(b)); }, 0xffff);
  t("min.s32 %wd, %wa, %wb;", [](u64 a, u64 b, u64) { return u64{W(static_cast<u64>(std::min(S(a), S(b))))}; });
  t("max.u32 %wd, %wa, %wb;", [](u64 a, u64 b, u64) { return u64{std::max(W(a), W(b))}; });
  t("neg.s32 %wd, %wa;", [](u64 a, u64, u64) { return W(0 - a); });
  t("abs.s32 %wd, %wa;", [](u64 a, u64, u64) { return W(S(a) < 0 ? 0 - a : a); });
  t("and.b32 %wd, %wa, %wb;", [](u64 a, u64 b, u64) { return W(a & b); });
  t("xor.b64 %d, %a, %b;", [](u64 a, u64 b, u64) { return a ^ b; });
  t("not.b32 %wd, %wa;", [](u64 a, u64, u64) { return W(~a); });
  t(
      "shl.b32 %wd, %wa, %wb;", [](u64 a, u64 b, u64) { return b > 31 ? 0 : u64{W(a << b)}; }, 63);
  t(
      "shr.s32 %wd, %wa, %wb;", [](u64 a, u64 b, u64) { return u64{W(static_cast<u64>(i64{S(a)} >> b))}; }, 63);
  t(
      "shr.u64 %d, %a, %wb;", [](u64 a, u64 b, u64) { return b > 63 ? 0 : a >> b; }, 127);
  t("shf.l.wrap.b32 %wd, %wa, %wb, %wc;", [](u64 a, u64 b, u64 c) { return u64{W((u64{W(b)} << 32 | W(a)) << (c & 31) >> 32)}; });
  t("prmt.b32 %wd, %wa, %wb, 0x5410;", [](u64 a, u64 b, u64) { return (a & 0xffff) | (b & 0xffff) << 16; });
  t("bfi.b32 %wd, %wa, %wb, 8, 4;", [](u64 a, u64 b, u64) { return (u64{W(b)} & ~u64{0xf00}) | (a & 15) << 8; });
  t("bfe.s32 %wd, %wa, 4, 8;", [](u64 a, u64, u64) { return u64{W(static_cast<u64>(i64{static_cast<std::int8_t>(a >> 4)}))}; });
  t("lop3.b32 %wd, %wa, %wb, %wc, 0x96;", [](u64 a, u64 b, u64 c) { return W(a ^ b ^ c); });
  t("popc.b32 %wd, %wa;", [](u64 a, u64, u64) { return static_cast<u64>(std::popcount(W(a))); });
  t("clz.b32 %wd, %wa;", [](u64 a, u64, u64) { return static_cast<u64>(std::countl_zero(W(a))); });
  t("setp.lt.s32 %p, %wa, %wb;", [](u64 a, u64 b, u64) { return u64{S(a) < S(b)}; });
  t("setp.hi.u32 %p, %wa, %wb;", [](u64 a, u64 b, u64) { return u64{W(a) > W(b)}; });
  t("cvt.s64.s32 %d, %wa;", [](u64 a, u64, u64) { return static_cast<u64>(i64{S(a)}); });
  t("cvt.rn.f32.s32 %fd, %wa;", [](u64 a, u64, u64) { return B(static_cast<float>(S(a))); });
}

void floats(Gpu& gpu) {
  const auto t = [&](const char* text, const Model& model) { test(gpu, text, true, model); };
  t("add.f32 %fd, %fa, %fb;", [](u64 a, u64 b, u64) { return B(F(a) + F(b)); });
  t("sub.f32 %fd, %fa, %fb;", [](u64 a, u64 b, u64) { return B(F(a) - F(b)); });
  t("mul.f32 %fd, %fa, %fb;", [](u64 a, u64 b, u64) { return B(F(a) * F(b)); });
  t("fma.rn.f32 %fd, %fa, %fb, %fc;", [](u64 a, u64 b, u64 c) { return B(std::fma(F(a), F(b), F(c))); });
  t("max.f32 %fd, %fa, %fb;", [](u64 a, u64 b, u64) { return B(F(a) == F(b) ? F(a) + 0.0f : std::max(F(a), F(b))); });
  t("min.f32 %fd, %fa, %fb;", [](u64 a, u64 b, u64) { return B(F(a) == F(b) ? F(a) : std::min(F(a), F(b))); });
  t("neg.f32 %fd, %fa;", [](u64 a, u64, u64) { return B(-F(a)); });
  t("abs.f32 %fd, %fa;", [](u64 a, u64, u64) { return B(std::fabs(F(a))); });
  t("ex2.approx.f32 %fd, %fa;", [](u64 a, u64, u64) { return B(std::exp2(F(a))); });
  t("copysign.f32 %fd, %fa, %fb;", [](u64 a, u64 b, u64) { return B(std::copysign(F(b), F(a))); });
  t("setp.ge.f32 %p, %fa, %fb;", [](u64 a, u64 b, u64) { return u64{F(a) >= F(b)}; });
  t("setp.geu.f32 %p, %fa, %fb;", [](u64 a, u64 b, u64) { return u64{!(F(a) < F(b))}; });
  t("cvt.rzi.s32.f32 %wd, %fa;", [](u64 a, u64, u64) { return u64{W(static_cast<u64>(i64{static_cast<i32>(F(a))}))}; });
  t("cvt.sat.f32.f32 %fd, %fa;", [](u64 a, u64, u64) { return B(std::min(std::max(F(a), 0.0f), 1.0f)); });
  t("cvt.rn.bf16x2.f32 %wd, %fa, %fb;", [](u64 a, u64 b, u64) {
    const auto half = [](u64 v) { return (v + 0x7fff + (v >> 16 & 1)) >> 16 & 0xffff; };
    return half(a) << 16 | half(b);
  });
  t("{ .reg .b32 %ha2; cvt.rn.f16x2.f32 %wd, %fa, %fb; }", [](u64 a, u64 b, u64) {
    const auto half = [](u64 v) { return u64{std::bit_cast<std::uint16_t>(static_cast<_Float16>(F(v)))}; };
    return half(a) << 16 | half(b);
  });
}

/// D = A B with the fragments of m16n8k16: A is 16x16 (bf16 or f16), B 16x8; element places from PTX ISA 9.7.15.5.8.
void matrices(Gpu& gpu, bool f16) {
  float a[16][16], b[16][8];
  for (auto& row : a)
    for (float& v : row) v = numbers.value();
  for (auto& row : b)
    for (float& v : row) v = numbers.value();
  std::vector<u32> in;
  for (int lane = 0; lane < 32; lane++) {
    const auto half = [f16](float v) { return f16 ? u32{std::bit_cast<std::uint16_t>(static_cast<_Float16>(v))} : std::bit_cast<u32>(v) >> 16; };
    const auto pair = [&](float low, float high) { return half(low) | half(high) << 16; };
    for (int i = 0; i < 8; i += 2) {  // a0 … a7
      const int row = (i < 2 || (i >= 4 && i < 6)) ? lane >> 2 : (lane >> 2) + 8;
      const int column = (lane % 4) * 2 + (i & 1) + (i >= 4 ? 8 : 0);
      in.push_back(pair(a[row][column], a[row][column + 1]));
    }
    for (int i = 0; i < 4; i += 2) {  // b0 … b3
      const int row = (lane % 4) * 2 + (i & 1) + (i >= 2 ? 8 : 0);
      in.push_back(pair(b[row][lane >> 2], b[row + 1][lane >> 2]));
    }
  }
  const std::string ptx =
      std::string(
          ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry m(.param .u64 in, .param .u64 out)\n{\n.reg .b64 %i, %o, %x;\n.reg .b32 %r<8>;\n.reg "
          ".f32 %f<4>;\n"
          "ld.param.u64 %i, [in];\nld.param.u64 %o, [out];\nmov.u32 %r0, %tid.x;\nmul.wide.u32 %x, %r0, 24;\nadd.s64 %i, %i, %x;\n"
          "ld.global.u32 %r1, [%i];\nld.global.u32 %r2, [%i+4];\nld.global.u32 %r3, [%i+8];\nld.global.u32 %r4, [%i+12];\nld.global.u32 %r5, "
          "[%i+16];\nld.global.u32 %r6, [%i+20];\n"
          "mov.f32 %f0, 0f00000000;\nmov.f32 %f1, %f0;\nmov.f32 %f2, %f0;\nmov.f32 %f3, %f0;\n") +
      (f16 ? "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 " : "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 ") +
      "{%f0,%f1,%f2,%f3}, {%r1,%r2,%r3,%r4}, {%r5,%r6}, {%f0,%f1,%f2,%f3};\n"
      "mul.wide.u32 %x, %r0, 16;\nadd.s64 %o, %o, %x;\nst.global.v4.f32 [%o], {%f0,%f1,%f2,%f3};\nret;\n}\n";
  CUdeviceptr pin = gpu.upload(in), pout = gpu.empty(512);
  gpu.launch(gpu.load(ptx, "m"), 1, 32, {&pin, &pout});
  const auto out = gpu.download<float>(pout, 128);
  for (int lane = 0; lane < 32; lane++) {
    for (int i = 0; i < 4; i++) {  // c0 … c3
      const int row = i < 2 ? lane >> 2 : (lane >> 2) + 8;
      const int column = (lane % 4) * 2 + (i & 1);
      float sum = 0;
      for (int k = 0; k < 16; k++) sum += a[row][k] * b[k][column];
      expect("mma m16n8k16", lane, B(out[static_cast<std::size_t>(lane * 4 + i)]), B(sum));
    }
  }
}

}  // namespace

int main() {
  return run_checks([](Gpu& gpu) {
    integers(gpu);
    floats(gpu);
    for (bool f16 : {false, true}) matrices(gpu, f16);
  });
}
