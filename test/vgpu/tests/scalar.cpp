// Every scalar instruction against a model in plain C++: a module of one small kernel per case, seeded operands and edge values.
#include <functional>

#include "scalar_models.h"
#include "support.h"

namespace {

constexpr unsigned kThreads = 96;

struct Case {
  std::string text;  // reads %ra %rb %rc (b32), %qa %qb %qc (b64), %fa.. (f32), %da.. (f64); writes one of %ro %qo %fo %do
  std::function<u64(u64, u64, u64)> model;
  bool floats = false;   // operands are ordinary floats (low word) or doubles rather than arbitrary bits
  double tolerance = 0;  // relative, for the .approx forms
};

std::vector<Case> cases() {
  std::vector<Case> all = {
      {"add.s32 %ro, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{w(a) + w(b)}; }},
      {"sub.s32 %ro, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{w(a) - w(b)}; }},
      {"mul.lo.s32 %ro, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{w(a) * w(b)}; }},
      {"mul.hi.u32 %ro, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{w(a)} * w(b) >> 32; }},
      {"mul.hi.s32 %ro, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{w(static_cast<u64>(i64{s(a)} * s(b)) >> 32)}; }},
      {"mul.wide.s32 %qo, %ra, %rb;", [](u64 a, u64 b, u64) { return static_cast<u64>(i64{s(a)} * s(b)); }},
      {"mul.wide.u32 %qo, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{w(a)} * w(b); }},
      {"mad.lo.s32 %ro, %ra, %rb, %rc;", [](u64 a, u64 b, u64 c) { return u64{w(a) * w(b) + w(c)}; }},
      {"mad.wide.u32 %qo, %ra, %rb, %qc;", [](u64 a, u64 b, u64 c) { return u64{w(a)} * w(b) + c; }},
      {"mul.hi.u64 %qo, %qa, %qb;", [](u64 a, u64 b, u64) { return static_cast<u64>(static_cast<unsigned __int128>(a) * b >> 64); }},
      {"mul.lo.s64 %qo, %qa, %qb;", [](u64 a, u64 b, u64) { return a * b; }},
      {"or.b32 %ro, %rb, 1; div.u32 %ro, %ra, %ro;", [](u64 a, u64 b, u64) { return u64{w(a) / (w(b) | 1)}; }},
      {"or.b32 %ro, %rb, 1; rem.u32 %ro, %ra, %ro;", [](u64 a, u64 b, u64) { return u64{w(a) % (w(b) | 1)}; }},
      {"and.b32 %ro, %rb, 1023; or.b32 %ro, %ro, 1; div.s32 %ro, %ra, %ro;", [](u64 a, u64 b, u64) { return as(s(a) / static_cast<i32>((b & 1023) | 1)); }},
      {"and.b32 %ro, %rb, 1023; or.b32 %ro, %ro, 1; rem.s32 %ro, %ra, %ro;", [](u64 a, u64 b, u64) { return as(s(a) % static_cast<i32>((b & 1023) | 1)); }},
      {"min.s32 %ro, %ra, %rb;", [](u64 a, u64 b, u64) { return as(s(a) < s(b) ? s(a) : s(b)); }},
      {"max.u32 %ro, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{w(a) > w(b) ? w(a) : w(b)}; }},
      {"min.s64 %qo, %qa, %qb;", [](u64 a, u64 b, u64) { return q(a) < q(b) ? a : b; }},
      {"neg.s32 %ro, %ra;", [](u64 a, u64, u64) { return u64{0u - w(a)}; }},
      {"and.b32 %ro, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{w(a) & w(b)}; }},
      {"xor.b64 %qo, %qa, %qb;", [](u64 a, u64 b, u64) { return a ^ b; }},
      {"not.b32 %ro, %ra;", [](u64 a, u64, u64) { return u64{~w(a)}; }},
      {"and.b32 %ro, %rb, 63; shl.b32 %ro, %ra, %ro;", [](u64 a, u64 b, u64) { return (b & 63) > 31 ? 0 : u64{w(w(a) << (b & 63))}; }},
      {"and.b32 %ro, %rb, 63; shr.u32 %ro, %ra, %ro;", [](u64 a, u64 b, u64) { return (b & 63) > 31 ? 0 : u64{w(a) >> (b & 63)}; }},
      {"and.b32 %ro, %rb, 63; shr.s32 %ro, %ra, %ro;", [](u64 a, u64 b, u64) { return as(s(a) >> ((b & 63) > 31 ? 31 : (b & 63))); }},
      {"and.b32 %ro, %rb, 127; shl.b64 %qo, %qa, %ro;", [](u64 a, u64 b, u64) { return (b & 127) > 63 ? 0 : a << (b & 127); }},
      {"and.b32 %ro, %rb, 127; shr.s64 %qo, %qa, %ro;", [](u64 a, u64 b, u64) { return static_cast<u64>(q(a) >> ((b & 127) > 63 ? 63 : (b & 127))); }},
      {"popc.b32 %ro, %ra;",
       [](u64 a, u64, u64) {
         u64 n = 0;
         for (u32 v = w(a); v != 0; v &= v - 1) n++;
         return n;
       }},
      {"clz.b32 %ro, %ra;",
       [](u64 a, u64, u64) {
         u64 n = 0;
         while (n < 32 && (w(a) >> (31 - n) & 1) == 0) n++;
         return n;
       }},
      {"brev.b32 %ro, %ra;",
       [](u64 a, u64, u64) {
         u32 out = 0;
         for (u32 v = w(a), n = 0; n < 32; n++, v >>= 1) out = out << 1 | (v & 1);
         return u64{out};
       }},
      {"lop3.b32 %ro, %ra, %rb, %rc, 0x96;", [](u64 a, u64 b, u64 c) { return u64{w(a) ^ w(b) ^ w(c)}; }},
      {"lop3.b32 %ro, %ra, %rb, %rc, 0xe8;", [](u64 a, u64 b, u64 c) { return u64{w((a & b) | (a & c) | (b & c))}; }},
      {"prmt.b32 %ro, %ra, %rb, 0x5410;", [](u64 a, u64 b, u64) { return u64{(w(a) & 0xffff) | w(b) << 16}; }},
      {"prmt.b32 %ro, %ra, %rb, 0x7632;", [](u64 a, u64 b, u64) { return u64{w(a) >> 16 | (w(b) & 0xffff0000u)}; }},
      {"shf.l.wrap.b32 %ro, %ra, %rb, 7;", [](u64 a, u64 b, u64) { return u64{w(b) << 7 | w(a) >> 25}; }},
      {"shf.r.wrap.b32 %ro, %ra, %rb, 7;", [](u64 a, u64 b, u64) { return u64{w(b) << 25 | w(a) >> 7}; }},
      {"bfe.u32 %ro, %ra, 5, 9;", [](u64 a, u64, u64) { return u64{w(a) >> 5 & 511}; }},
      {"bfe.s32 %ro, %ra, 5, 9;", [](u64 a, u64, u64) { return as(s(u64{w(a) << 18}) >> 23); }},
      {"bfi.b32 %ro, %ra, %rb, 4, 8;", [](u64 a, u64 b, u64) { return u64{(w(b) & ~0xff0u) | (w(a) & 255) << 4}; }},
      {"setp.lt.s32 %p, %ra, %rb; selp.b32 %ro, %ra, %rc, %p;", [](u64 a, u64 b, u64 c) { return u64{s(a) < s(b) ? w(a) : w(c)}; }},
      {"setp.hi.u32 %p, %ra, %rb; selp.b32 %ro, 7, 9, %p;", [](u64 a, u64 b, u64) { return u64{w(a) > w(b) ? 7u : 9u}; }},
      {"setp.ne.s32 %p, %ra, %rb; setp.ge.and.s32 %p, %ra, %rc, %p; selp.b32 %ro, 1, 0, %p;",
       [](u64 a, u64 b, u64 c) { return u64{w(a) != w(b) && s(a) >= s(c)}; }},
      {"mov.b32 %ro, 3; setp.gt.s32 %p, %ra, 0; @%p mov.b32 %ro, 5; @!%p add.s32 %ro, %ro, 8;", [](u64 a, u64, u64) { return u64{s(a) > 0 ? 5u : 11u}; }},
      {"cvt.s64.s32 %qo, %ra;", [](u64 a, u64, u64) { return static_cast<u64>(i64{s(a)}); }},
      {"cvt.s32.s8 %ro, %ra;", [](u64 a, u64, u64) { return as(static_cast<std::int8_t>(a)); }},
      {"cvt.u32.u16 %ro, %ha;", [](u64 a, u64, u64) { return a & 0xffff; }},
      {"cvt.rn.f32.s32 %fo, %ra;", [](u64 a, u64, u64) { return bits(static_cast<float>(s(a))); }},
      {"cvt.rn.f32.u64 %fo, %qa;", [](u64 a, u64, u64) { return bits(static_cast<float>(a)); }},
      {"cvt.rn.f64.s64 %do, %qa;", [](u64 a, u64, u64) { return bits(static_cast<double>(q(a))); }},
      {"cvt.f32.f16 %fo, %ha;",
       [](u64 a, u64, u64) {
         const int e = static_cast<int>(a >> 10 & 31);
         const float m = static_cast<float>(a & 1023);
         const float v = e == 31 ? (m != 0 ? NAN : INFINITY) : e == 0 ? std::ldexp(m, -24) : std::ldexp(1024 + m, e - 25);
         return bits((a & 0x8000) != 0 ? -v : v);
       }},
      {"mov.b32 {%ha, %hb}, %ra; mov.b32 %ro, {%hb, %ha};", [](u64 a, u64, u64) { return u64{w(a) << 16 | w(a) >> 16}; }},
      {"mov.b64 %qo, {%ra, %rb};", [](u64 a, u64 b, u64) { return w(a) | u64{w(b)} << 32; }},
      {"shl.b32 %ro, %ra, 16; mov.b32 %fo, %ro; cvt.rn.bf16.f32 %ha, %fo; cvt.u32.u16 %ro, %ha;",
       [](u64 a, u64, u64) { return (a & 0x7fff) > 0x7f80 ? u64{0x7fff} : a & 0xffff; }},  // every NaN becomes the canonical one
  };
  const auto pred = [&](const char* text, std::function<u64(u64, u64, u64)> model) {
    all.push_back({std::string(text) + " selp.u32 %ro, 1, 0, %p;", std::move(model)});
  };
  pred("and.b32 %ra, %ra, 1; and.b32 %rb, %rb, 1; setp.eq.b32 %p, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{(a & 1) == (b & 1)}; });
  pred("and.b64 %qa, %qa, 1; and.b64 %qb, %qb, 1; setp.eq.b64 %p, %qa, %qb;", [](u64 a, u64 b, u64) { return u64{(a & 1) == (b & 1)}; });
  pred("and.b32 %ra, %ra, 1; and.b32 %rb, %rb, 1; setp.eq.s32 %p, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{(a & 1) == (b & 1)}; });
  pred("and.b64 %qa, %qa, 1; and.b64 %qb, %qb, 1; setp.eq.s64 %p, %qa, %qb;", [](u64 a, u64 b, u64) { return u64{(a & 1) == (b & 1)}; });
  pred("cvt.u16.u32 %hb, %rb; setp.eq.s16 %p, %ha, %hb;", [](u64 a, u64 b, u64) { return u64{(a & 0xffff) == (b & 0xffff)}; });
  pred("cvt.u16.u32 %hb, %rb; setp.ne.s16 %p, %ha, %hb;", [](u64 a, u64 b, u64) { return u64{(a & 0xffff) != (b & 0xffff)}; });
  pred("and.b64 %qa, %qa, 1; and.b64 %qb, %qb, 1; setp.ne.s64 %p, %qa, %qb;", [](u64 a, u64 b, u64) { return u64{(a & 1) != (b & 1)}; });
  pred("setp.ge.s32 %p, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{s(a) >= s(b)}; });
  pred("setp.ge.s64 %p, %qa, %qb;", [](u64 a, u64 b, u64) { return u64{q(a) >= q(b)}; });
  pred("setp.gt.s64 %p, %qa, %qb;", [](u64 a, u64 b, u64) { return u64{q(a) > q(b)}; });
  pred("setp.gt.u32 %p, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{w(a) > w(b)}; });
  pred("setp.le.s32 %p, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{s(a) <= s(b)}; });
  pred("setp.le.s64 %p, %qa, %qb;", [](u64 a, u64 b, u64) { return u64{q(a) <= q(b)}; });
  pred("setp.lt.s64 %p, %qa, %qb;", [](u64 a, u64 b, u64) { return u64{q(a) < q(b)}; });
  pred("setp.lt.u32 %p, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{w(a) < w(b)}; });
  pred("setp.lt.u64 %p, %qa, %qb;", [](u64 a, u64 b, u64) { return u64{a < b}; });
  const char* two = "setp.lt.s32 %p, %ra, %rb; setp.lt.s32 %s, %rb, %rc; ";
  pred((std::string(two) + "and.pred %p, %p, %s;").c_str(), [](u64 a, u64 b, u64 c) { return u64{s(a) < s(b) && s(b) < s(c)}; });
  pred((std::string(two) + "or.pred %p, %p, %s;").c_str(), [](u64 a, u64 b, u64 c) { return u64{s(a) < s(b) || s(b) < s(c)}; });
  pred((std::string(two) + "xor.pred %p, %p, %s;").c_str(), [](u64 a, u64 b, u64 c) { return u64{(s(a) < s(b)) != (s(b) < s(c))}; });
  pred("setp.lt.s32 %p, %ra, %rb; not.pred %p, %p;", [](u64 a, u64 b, u64) { return u64{s(a) >= s(b)}; });
  pred("setp.lt.s32 %s, %ra, %rb; mov.pred %p, %s;", [](u64 a, u64 b, u64) { return u64{s(a) < s(b)}; });
  pred("mov.b32 %fa, %ra; mov.b32 %fb, %rb; setp.leu.f32 %p, %fa, %fb;", [](u64 a, u64 b, u64) { return u64{!(f(a) > f(b))}; });
  pred("mov.b32 %fa, %ra; mov.b32 %fb, %rb; setp.neu.f32 %p, %fa, %fb;", [](u64 a, u64 b, u64) { return u64{!(f(a) == f(b))}; });
  pred("mov.b32 %fa, %ra; setp.eq.f32 %p, %fa, %fa;", [](u64 a, u64, u64) { return u64{!std::isnan(f(a))}; });
  pred("mov.b32 %fa, %ra; mov.b32 %fb, %rb; setp.gt.f32 %p, %fa, %fb;", [](u64 a, u64 b, u64) { return u64{f(a) > f(b)}; });
  const auto more = [&](const char* text, std::function<u64(u64, u64, u64)> model) { all.push_back({text, std::move(model)}); };
  more("max.s32 %ro, %ra, %rb;", [](u64 a, u64 b, u64) { return as(s(a) > s(b) ? s(a) : s(b)); });
  more("max.s64 %qo, %qa, %qb;", [](u64 a, u64 b, u64) { return q(a) > q(b) ? a : b; });
  more("xor.b32 %ro, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{w(a ^ b)}; });
  more("and.b64 %qo, %qa, %qb;", [](u64 a, u64 b, u64) { return a & b; });
  more("or.b64 %qo, %qa, %qb;", [](u64 a, u64 b, u64) { return a | b; });
  more("not.b64 %qo, %qa;", [](u64 a, u64, u64) { return ~a; });
  more("neg.s64 %qo, %qa;", [](u64 a, u64, u64) { return 0 - a; });
  more("or.b64 %qo, %qb, 1; div.u64 %qo, %qa, %qo;", [](u64 a, u64 b, u64) { return a / (b | 1); });
  more("setp.lt.s32 %p, %ra, %rb; selp.u64 %qo, %qa, %qb, %p;", [](u64 a, u64 b, u64) { return s(a) < s(b) ? a : b; });
  more("setp.lt.s32 %p, %ra, %rb; selp.b64 %qo, %qb, %qa, %p;", [](u64 a, u64 b, u64) { return s(a) < s(b) ? b : a; });
  // 16 bits: %ha and %hb, widened for the result.
  more("cvt.u16.u32 %hb, %rb; add.s16 %ha, %ha, %hb; cvt.u32.u16 %ro, %ha;", [](u64 a, u64 b, u64) { return (a + b) & 0xffff; });
  more("cvt.u16.u32 %hb, %rb; and.b16 %ha, %ha, %hb; cvt.u32.u16 %ro, %ha;", [](u64 a, u64 b, u64) { return a & b & 0xffff; });
  more("cvt.u16.u32 %hb, %rb; or.b16 %ha, %ha, %hb; cvt.u32.u16 %ro, %ha;", [](u64 a, u64 b, u64) { return (a | b) & 0xffff; });
  more("shr.u16 %ha, %ha, 5; cvt.u32.u16 %ro, %ha;", [](u64 a, u64, u64) { return (a & 0xffff) >> 5; });
  more("mov.u16 %hb, %ha; cvt.u32.u16 %ro, %hb;", [](u64 a, u64, u64) { return a & 0xffff; });
  more("cvt.u16.u32 %hb, %rb; setp.lt.s32 %p, %ra, %rb; selp.b16 %ha, %ha, %hb, %p; cvt.u32.u16 %ro, %ha;",
       [](u64 a, u64 b, u64) { return (s(a) < s(b) ? a : b) & 0xffff; });
  more("cvt.u16.u32 %hb, %rb; setp.lt.s32 %p, %ra, %rb; selp.u16 %ha, %hb, %ha, %p; cvt.u32.u16 %ro, %ha;",
       [](u64 a, u64 b, u64) { return (s(a) < s(b) ? b : a) & 0xffff; });
  more("cvt.rn.f32.u16 %fo, %ha;", [](u64 a, u64, u64) { return bits(static_cast<float>(a & 0xffff)); });
  more("cvt.rn.f32.s64 %fo, %qa;", [](u64 a, u64, u64) { return bits(static_cast<float>(q(a))); });
  more("cvt.rz.f32.s32 %fo, %ra;", [](u64 a, u64, u64) {
    const float near = static_cast<float>(s(a));  // towards zero: one step back where rounding went away from it
    return bits(std::fabs(static_cast<double>(near)) > std::fabs(static_cast<double>(s(a))) ? std::nextafter(near, 0.0f) : near);
  });
  more("min.u32 %ro, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{w(a) < w(b) ? w(a) : w(b)}; });
  more("cvt.u16.u32 %hb, %rb; mul.wide.u16 %ro, %ha, %hb;", [](u64 a, u64 b, u64) { return (a & 0xffff) * (b & 0xffff); });
  pred("setp.ne.b32 %p, %ra, %rb;", [](u64 a, u64 b, u64) { return u64{w(a) != w(b)}; });
  pred("mov.b32 %fa, %ra; mov.b32 %fb, %rb; setp.geu.f32 %p, %fa, %fb;", [](u64 a, u64 b, u64) { return u64{!(f(a) < f(b))}; });
  // 8-bit floats, in pairs.
  more("cvt.rn.f16x2.e4m3x2 %ro, %ha;", [](u64 a, u64, u64) { return half_of(a & 255, 3, 7) | half_of(a >> 8 & 255, 3, 7) << 16; });
  more("cvt.rn.f16x2.e5m2x2 %ro, %ha;", [](u64 a, u64, u64) { return half_of(a & 255, 2, 15) | half_of(a >> 8 & 255, 2, 15) << 16; });
  more("cvt.rn.satfinite.e4m3x2.f16x2 %ha, %ra; cvt.u32.u16 %ro, %ha;", [](u64 a, u64, u64) { return e4m3(half(a)) | e4m3(half(a >> 16)) << 8; });
  more("cvt.rn.satfinite.e5m2x2.f16x2 %ha, %ra; cvt.u32.u16 %ro, %ha;", [](u64 a, u64, u64) { return e5m2(half(a)) | e5m2(half(a >> 16)) << 8; });
  for (const std::string text : {"cvt.rn.satfinite.e4m3x2.f32 %ha, %fa, %fb;", "cvt.rn.satfinite.e5m2x2.f32 %ha, %fa, %fb;"}) {
    const auto code = text.find("e4m3") != std::string::npos ? e4m3 : e5m2;
    const std::string around = "mov.b32 %fa, %ra; mov.b32 %fb, %rb; " + text + " cvt.u32.u16 %ro, %ha;";
    const auto model = [code](u64 a, u64 b, u64) { return code(static_cast<double>(f(b))) | code(static_cast<double>(f(a))) << 8; };
    more(around.c_str(), model);
    // Exponents near those of the format instead of all.
    more(("and.b32 %ra, %ra, 0x87ffffff; add.s32 %ra, %ra, 0x3a000000; and.b32 %rb, %rb, 0x81f80000; add.s32 %rb, %rb, 0x3c000000; " + around).c_str(),
         [model](u64 a, u64 b, u64 c) { return model((a & 0x87ffffff) + 0x3a000000, (b & 0x81f80000) + 0x3c000000, c); });
  }
  const auto add = [&](const char* text, std::function<u64(u64, u64, u64)> model, double tolerance = 0) {
    all.push_back({text, std::move(model), true, tolerance});
  };
  add("add.f32 %fo, %fa, %fb;", [](u64 a, u64 b, u64) { return bits(f(a) + f(b)); });
  add("sub.f32 %fo, %fa, %fb;", [](u64 a, u64 b, u64) { return bits(f(a) - f(b)); });
  add("mul.f32 %fo, %fa, %fb;", [](u64 a, u64 b, u64) { return bits(f(a) * f(b)); });
  add("fma.rn.f32 %fo, %fa, %fb, %fc;", [](u64 a, u64 b, u64 c) { return bits(std::fma(f(a), f(b), f(c))); });
  add("div.rn.f32 %fo, %fa, %fb;", [](u64 a, u64 b, u64) { return bits(f(a) / f(b)); });
  add("max.f32 %fo, %fa, %fb;", [](u64 a, u64 b, u64) { return bits(f(a) > f(b) ? f(a) : f(b)); });
  add("neg.f32 %fo, %fa;", [](u64 a, u64, u64) { return u64{w(a) ^ 0x80000000u}; });
  add("abs.f32 %fo, %fa;", [](u64 a, u64, u64) { return a & 0x7fffffff; });
  add("abs.f32 %fo, %fa; sqrt.rn.f32 %fo, %fo;", [](u64 a, u64, u64) { return bits(static_cast<float>(std::sqrt(static_cast<double>(std::fabs(f(a)))))); });
  add("rcp.rn.f32 %fo, %fa;", [](u64 a, u64, u64) { return bits(static_cast<float>(1 / static_cast<double>(f(a)))); });
  add(
      "ex2.approx.ftz.f32 %fo, %fa;", [](u64 a, u64, u64) { return bits(static_cast<float>(std::exp2(static_cast<double>(f(a))))); }, 1e-6);
  add(
      "abs.f32 %fo, %fa; lg2.approx.f32 %fo, %fo;", [](u64 a, u64, u64) { return bits(static_cast<float>(std::log2(static_cast<double>(std::fabs(f(a)))))); },
      1e-6);
  add(
      "abs.f32 %fo, %fa; rsqrt.approx.f32 %fo, %fo;",
      [](u64 a, u64, u64) { return bits(static_cast<float>(1 / std::sqrt(static_cast<double>(std::fabs(f(a)))))); }, 1e-6);
  add("cvt.rzi.s32.f32 %ro, %fa;", [](u64 a, u64, u64) { return as(static_cast<i32>(f(a))); });
  add("cvt.rmi.f32.f32 %fo, %fa;", [](u64 a, u64, u64) { return bits(std::floor(f(a))); });
  add("setp.lt.f32 %p, %fa, %fb; selp.f32 %fo, %fb, %fc, %p;", [](u64 a, u64 b, u64 c) { return bits(f(a) < f(b) ? f(b) : f(c)); });
  add("add.f64 %do, %da, %db;", [](u64 a, u64 b, u64) { return bits(d(a) + d(b)); });
  add("fma.rn.f64 %do, %da, %db, %dc;", [](u64 a, u64 b, u64 c) { return bits(std::fma(d(a), d(b), d(c))); });
  add("cvt.rn.f32.f64 %fo, %da;", [](u64 a, u64, u64) { return bits(static_cast<float>(d(a))); });
  add("add.rn.f32 %fo, %fa, %fb;", [](u64 a, u64 b, u64) { return bits(f(a) + f(b)); });
  add("mul.rn.f32 %fo, %fa, %fb;", [](u64 a, u64 b, u64) { return bits(f(a) * f(b)); });
  add("fma.rm.f32 %fo, %fa, %fb, %fc;", [](u64 a, u64 b, u64 c) {
    // Exact in double or so nearly that its float below is the right one: 24 bits times 24 bits, and a sum of numbers of alike size.
    const double exact = static_cast<double>(f(a)) * f(b) + static_cast<double>(f(c));
    const float near = static_cast<float>(exact);
    return bits(static_cast<double>(near) > exact ? std::nextafter(near, -INFINITY) : near);
  });
  add(
      "rcp.approx.ftz.f32 %fo, %fa;", [](u64 a, u64, u64) { return bits(static_cast<float>(1 / static_cast<double>(f(a)))); }, 1e-6);
  add("cvt.rni.f32.f32 %fo, %fa;", [](u64 a, u64, u64) { return bits(std::nearbyint(f(a))); });
  add("cvt.rzi.f32.f32 %fo, %fa;", [](u64 a, u64, u64) { return bits(std::trunc(f(a))); });
  add("cvt.rn.f16.f32 %ha, %fa; cvt.u32.u16 %ro, %ha;", [](u64 a, u64, u64) { return u64{std::bit_cast<std::uint16_t>(static_cast<_Float16>(f(a)))}; });
  add("sub.f64 %do, %da, %db;", [](u64 a, u64 b, u64) { return bits(d(a) - d(b)); });
  add("mul.f64 %do, %da, %db;", [](u64 a, u64 b, u64) { return bits(d(a) * d(b)); });
  add("cvt.rmi.f64.f64 %do, %da;", [](u64 a, u64, u64) { return bits(std::floor(d(a))); });
  add("cvt.rni.f64.f64 %do, %da;", [](u64 a, u64, u64) { return bits(std::nearbyint(d(a))); });
  add("cvt.rzi.s32.f64 %ro, %da;", [](u64 a, u64, u64) { return as(static_cast<i32>(d(a))); });
  // min and max: a NaN loses, except with .NaN
  all.push_back({"mov.f32 %fo, 0f7FC00000; max.f32 %fo, %fo, 0f3F800000;", [](u64, u64, u64) { return bits(1.0f); }});
  all.push_back(
      {"mov.f32 %fo, 0f7FC00000; max.NaN.f32 %fo, %fo, 0f3F800000; setp.nan.f32 %p, %fo, %fo; selp.b32 %ro, 1, 0, %p;", [](u64, u64, u64) { return u64{1}; }});
  return all;
}

/// The register that the text writes last: the result.
char result(const std::string& text) {
  const auto at =
      std::max({text.rfind("%ro,"), text.rfind("%qo,"), text.rfind("%fo,"), text.rfind("%do,")}, [](std::size_t a, std::size_t b) { return a + 1 < b + 1; });
  return text[at + 1];
}

std::string entry(const Case& c, std::size_t n) {
  std::string out = ".visible .entry t" + std::to_string(n) + "(.param .u64 in, .param .u64 out)\n{\n";
  out += ".reg .pred %p, %s; .reg .b16 %ha, %hb; .reg .b32 %ra, %rb, %rc, %ro, %t; .reg .b64 %qa, %qb, %qc, %qo, %i, %o, %x;\n";
  out += ".reg .f32 %fa, %fb, %fc, %fo; .reg .f64 %da, %db, %dc, %do;\n";
  out +=
      "ld.param.u64 %i, [in];\nld.param.u64 %o, [out];\nmov.u32 %t, %tid.x;\nmul.wide.u32 %x, %t, 24;\nadd.s64 %i, %i, %x;\nmul.wide.u32 %x, %t, 8;\nadd.s64 "
      "%o, %o, %x;\n";
  for (int k = 0; k < 3; k++) {
    const std::string l(1, "abc"[k]);
    out += "ld.global.u64 %q" + l + ", [%i+" + std::to_string(8 * k) + "];\ncvt.u32.u64 %r" + l + ", %q" + l + ";\nmov.b32 %f" + l + ", %r" + l +
           ";\nmov.b64 %d" + l + ", %q" + l + ";\n";
  }
  out += "cvt.u16.u64 %ha, %qa;\n" + c.text + "\n";
  const char r = result(c.text);
  out += r == 'r' ? "cvt.u64.u32 %qo, %ro;\n" : r == 'f' ? "mov.b32 %ro, %fo;\ncvt.u64.u32 %qo, %ro;\n" : r == 'd' ? "mov.b64 %qo, %do;\n" : "";
  return out + "st.global.u64 [%o], %qo;\nret;\n}\n";
}

bool equal(const Case& c, u64 got, u64 expected) {
  if (result(c.text) == 'f') {
    if (std::isnan(f(expected))) return std::isnan(f(got));
    if (c.tolerance > 0) return std::fabs(f(got) - f(expected)) <= c.tolerance * (1 + std::fabs(static_cast<double>(f(expected))));
  }
  return got == expected;
}

}  // namespace

int main() {
  try {
    const std::vector<Case> all = cases();
    std::string ptx = ".version 9.0\n.target sm_80\n.address_size 64\n";
    for (std::size_t n = 0; n < all.size(); n++) ptx += entry(all[n], n);
    Gpu gpu;
    const u64 edges[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, ~u64{0}};
    int wrong = 0;
    for (std::size_t n = 0; n < all.size(); n++) {
      Random random(static_cast<unsigned>(n) + 1);
      const bool doubles = all[n].text.find("%da") != std::string::npos;
      std::vector<u64> in(3 * kThreads);
      for (std::size_t k = 0; k < in.size(); k++) {
        const u64 low = random.next();
        in[k] = low | u64{random.next()} << 32;
        if (all[n].floats) {
          const double v = (static_cast<double>(random.next() % 20000) - 10000 + 0.5) / 997;
          in[k] = doubles ? bits(v) : bits(static_cast<float>(v));
        } else if (k < 24) {
          in[k] = edges[(k + k / 8) % 8];
        }
      }
      const CUdeviceptr from = gpu.upload(in), to = gpu.empty(8 * kThreads);
      gpu.launch(gpu.load(ptx, ("t" + std::to_string(n)).c_str()), 1, kThreads, {const_cast<CUdeviceptr*>(&from), const_cast<CUdeviceptr*>(&to)});
      const std::vector<u64> got = gpu.download<u64>(to, kThreads);
      for (std::size_t t = 0; t < kThreads; t++) {
        const u64 expected = all[n].model(in[3 * t], in[3 * t + 1], in[3 * t + 2]);
        if (equal(all[n], got[t], expected)) continue;
        std::printf("%s\n  operands %llx %llx %llx: got %llx, expected %llx\n", all[n].text.c_str(), static_cast<unsigned long long>(in[3 * t]),
                    static_cast<unsigned long long>(in[3 * t + 1]), static_cast<unsigned long long>(in[3 * t + 2]), static_cast<unsigned long long>(got[t]),
                    static_cast<unsigned long long>(expected));
        wrong++;
        break;
      }
    }
    std::printf("%zu instructions, %d wrong\n", all.size(), wrong);
    return wrong == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 2;
  }
}
