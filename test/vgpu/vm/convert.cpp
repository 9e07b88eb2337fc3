// Comparisons, conversions and moves. PTX ISA 9.7.6, 9.7.9.
#include <map>

#include "lanes.h"

namespace vgpu {
namespace {

// ---- Comparison ----

constexpr const char* kComparisons[] = {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan", "lo", "ls", "hi", "hs"};

template <class T>
bool compare(int how, T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    const bool nan = std::isnan(a) || std::isnan(b);
    if (how >= 6 && how <= 11) return nan || compare(how - 6, a, b);
    if (how >= 12) return nan == (how == 13);
    if (nan) return false;
  }
  switch (how) {
    case 0: return a == b;
    case 1: return a != b;
    case 2:
    case 14: return a < b;
    case 3:
    case 15: return a <= b;
    case 4:
    case 16: return a > b;
    default: return a >= b;
  }
}

/// setp.cmp[.bool][.ftz].type p[|q], a, b[, [!]c]. kind: comparison, flags: 1 and, 2 or, 3 xor, 4: q is there.
template <class T, int kHalf = 0>
void setp(Warp& w, const Instruction& i, u32 lanes) {
  const int q = i.flags >> 2 & 1;
  u64* d = target(w, i);
  const u64* a = source(w, i, 1 + q);
  const u64* b = source(w, i, 2 + q);
  for_lanes(lanes, [&](int l) {
    bool result;
    if constexpr (kHalf != 0) {
      result = compare(i.kind, from16<kHalf == 2>(a[l]), from16<kHalf == 2>(b[l]));
    } else {
      result = compare(i.kind, get<T>(a[l]), get<T>(b[l]));
    }
    bool inverse = !result;
    if (const int combine = i.flags & 3; combine != 0) {
      const auto n = static_cast<std::size_t>(3 + q);
      const bool c = (w.reg(i.operands[n])[l] != 0) != i.negated[n];
      result = combine == 1 ? result && c : combine == 2 ? result || c : result != c;
      inverse = combine == 1 ? inverse && c : combine == 2 ? inverse || c : inverse != c;
    }
    d[l] = result;
    if (q != 0) w.reg(i.operands[1])[l] = inverse;
  });
}

}  // namespace

Handler decode_setp(Instruction& i, const Mods& m) {
  const auto found = std::find(std::begin(kComparisons), std::end(kComparisons), m.parts[1]);
  if (found == std::end(kComparisons)) return nullptr;
  i.kind = static_cast<int>(found - std::begin(kComparisons));
  i.flags = m.has("and") ? 1 : m.has("or") ? 2 : m.has("xor") ? 3 : 0;
  if (i.operands.size() == (i.flags != 0 ? 5u : 4u)) i.flags |= 4;
  const std::string& t = m.type();
  if (t == "f32") return setp<float>;
  if (t == "f64") return setp<double>;
  if (t == "f16") return setp<u16, 1>;
  if (t == "bf16") return setp<u16, 2>;
  return for_integer(t, [](auto zero) -> Handler { return setp<decltype(zero)>; });
}

namespace {

// ---- Conversion ----

enum Kind { kU, kS, kF16, kBf16, kF32, kF64 };

struct Type {
  Kind kind;
  int bytes;
};

bool type_of(const std::string& text, Type& out) {
  static const std::map<std::string, Type> types = {
      {"u8", {kU, 1}}, {"u16", {kU, 2}}, {"u32", {kU, 4}}, {"u64", {kU, 8}}, {"s8", {kS, 1}},    {"s16", {kS, 2}},     {"s32", {kS, 4}},   {"s64", {kS, 8}},
      {"b8", {kU, 1}}, {"b16", {kU, 2}}, {"b32", {kU, 4}}, {"b64", {kU, 8}}, {"f16", {kF16, 2}}, {"bf16", {kBf16, 2}}, {"f32", {kF32, 4}}, {"f64", {kF64, 8}}};
  const auto found = types.find(text);
  if (found != types.end()) out = found->second;
  return found != types.end();
}

u64 truncate(u64 bits, int bytes) { return bytes == 8 ? bits : bits & ((u64{1} << (8 * bytes)) - 1); }

i64 extend(u64 bits, Type t) {
  const int shift = 64 - 8 * t.bytes;
  return t.kind == kS ? static_cast<i64>(bits << shift) >> shift : static_cast<i64>(truncate(bits, t.bytes));
}

enum Round { kNearest, kZero, kDown, kUp };

double round_integer(double v, int mode) {
  return mode == kZero ? std::trunc(v) : mode == kDown ? std::floor(v) : mode == kUp ? std::ceil(v) : std::nearbyint(v);
}

float to_float(double v, int mode) {
  float f = static_cast<float>(v);
  const auto d = static_cast<double>(f);
  if ((mode == kDown && d > v) || (mode == kZero && std::fabs(d) > std::fabs(v) && v > 0)) f = std::nextafter(f, -INFINITY);
  if ((mode == kUp && d < v) || (mode == kZero && std::fabs(d) > std::fabs(v) && v < 0)) f = std::nextafter(f, INFINITY);
  return f;
}

/// kind: source type | target type << 8 (Kind | bytes << 4), flags: rounding, 4: saturate, 8: flush, 16: relu, 32: to an integer value.
void convert(Warp& w, const Instruction& i, u32 lanes) {
  const Type from{static_cast<Kind>(i.kind & 15), i.kind >> 4 & 15};
  const Type to{static_cast<Kind>(i.kind >> 8 & 15), i.kind >> 12 & 15};
  const int mode = i.flags & 3;
  u64* d = target(w, i);
  const u64* a = source(w, i, 1);
  for_lanes(lanes, [&](int l) {
    if (from.kind <= kS && to.kind <= kS) {
      const i64 value = extend(a[l], from);
      if ((i.flags & 4) != 0) {
        __int128 v = from.kind == kS ? static_cast<__int128>(value) : static_cast<__int128>(static_cast<u64>(value));
        const __int128 high = to.kind == kS ? (static_cast<__int128>(1) << (8 * to.bytes - 1)) - 1 : (static_cast<__int128>(1) << (8 * to.bytes)) - 1;
        const __int128 low = to.kind == kS ? -high - 1 : 0;
        d[l] = truncate(static_cast<u64>(std::clamp(v, low, high)), to.bytes);
      } else {
        // A target narrower than its register is extended to it.
        d[l] = to.kind == kS ? static_cast<u64>(extend(static_cast<u64>(value), to)) : truncate(static_cast<u64>(value), to.bytes);
      }
      return;
    }
    double v;
    if (from.kind <= kS) {
      const i64 value = extend(a[l], from);
      if (to.kind == kF32 && from.bytes == 8) {  // once, not through double
        const float f = from.kind == kS ? static_cast<float>(value) : static_cast<float>(static_cast<u64>(value));
        if (mode == kNearest) {
          d[l] = put(f);
          return;
        }
      }
      v = from.kind == kS ? static_cast<double>(value) : static_cast<double>(static_cast<u64>(value));
    } else {
      v = from.kind == kF16    ? from16<false>(a[l])
          : from.kind == kBf16 ? from16<true>(a[l])
          : from.kind == kF32  ? static_cast<double>(get<float>(a[l]))
                               : get<double>(a[l]);
    }
    if ((i.flags & 8) != 0) v = static_cast<double>(flush(static_cast<float>(v)));
    if (to.kind <= kS) {
      const double rounded = round_integer(v, mode);
      const double low = to.kind == kS ? -std::ldexp(1.0, 8 * to.bytes - 1) : 0;
      const double high = std::ldexp(1.0, to.kind == kS ? 8 * to.bytes - 1 : 8 * to.bytes);
      u64 bits;
      if (std::isnan(rounded)) {
        bits = to.bytes == 8 ? u64{1} << 63 : 0;
      } else if (rounded >= high) {
        bits = to.kind == kS ? (u64{1} << (8 * to.bytes - 1)) - 1 : truncate(~u64{0}, to.bytes);
      } else if (rounded <= low) {
        bits = truncate(to.kind == kS ? static_cast<u64>(static_cast<i64>(low)) : 0, to.bytes);
      } else {
        bits = truncate(to.kind == kS ? static_cast<u64>(static_cast<i64>(rounded)) : static_cast<u64>(rounded), to.bytes);
      }
      d[l] = bits;
      return;
    }
    if ((i.flags & 32) != 0) v = round_integer(v, mode);
    if ((i.flags & 4) != 0) v = saturate(v);
    if ((i.flags & 16) != 0 && !(v > 0)) v = std::isnan(v) ? v : 0;
    switch (to.kind) {
      case kF16: d[l] = to16<false>(v); break;
      case kBf16: d[l] = to16<true>(v); break;
      case kF32: d[l] = put((i.flags & 8) != 0 ? flush(to_float(v, mode)) : to_float(v, mode)); break;
      default: d[l] = put(v);
    }
  });
}

}  // namespace

Handler decode_cvt(Instruction& i, const Mods& m) {
  const auto n = m.parts.size();
  const std::string& to_text = m.parts[n - 2];
  const std::string& from_text = m.parts[n - 1];
  if (from_text == "f32" && (to_text == "f16x2" || to_text == "bf16x2") && !m.has("rz")) {  // d, upper half, lower half
    i.kind = to_text[0] == 'b';
    i.flags = m.has("relu");
    return lanes_op([](Warp& w, const Instruction& i, int l) {
      u64 out = 0;
      for (int h = 0; h < 2; h++) {
        auto v = get<float>(source(w, i, 2 - h)[l]);
        if (i.flags != 0 && v < 0) v = 0;
        out |= static_cast<u64>(i.kind != 0 ? to16<true>(static_cast<double>(v)) : to16<false>(static_cast<double>(v))) << (16 * h);
      }
      target(w, i)[l] = out;
    });
  }
  const bool to_e4m3 = to_text == "e4m3x2", to_e5m2 = to_text == "e5m2x2";
  if ((from_text == "e4m3x2" || from_text == "e5m2x2") && to_text == "f16x2") {
    i.kind = from_text == "e5m2x2";
    i.flags = m.has("relu");
    return lanes_op([](Warp& w, const Instruction& i, int l) {
      u64 out = 0;
      for (int h = 0; h < 2; h++) {
        const auto code = static_cast<u8>(source(w, i, 1)[l] >> (8 * h));
        const auto v = static_cast<double>(i.kind != 0 ? e5m2_to_float(code) : e4m3_to_float(code));
        out |= static_cast<u64>(to16<false>(i.flags != 0 && v < 0 ? 0 : v)) << (16 * h);
      }
      target(w, i)[l] = out;
    });
  }
  if ((from_text == "f32" || from_text == "f16x2") && (to_e4m3 || to_e5m2) && m.has("satfinite")) {
    i.kind = to_e5m2 | (from_text == "f16x2" ? 2 : 0);
    i.flags = m.has("relu");
    return lanes_op([](Warp& w, const Instruction& i, int l) {
      u64 out = 0;
      for (int h = 0; h < 2; h++) {  // d, upper, lower; or both in one register
        auto v = (i.kind & 2) != 0 ? from16<false>(source(w, i, 1)[l] >> (16 * h)) : get<float>(source(w, i, 2 - h)[l]);
        if (i.flags != 0 && v < 0) v = 0;
        out |= static_cast<u64>((i.kind & 1) != 0 ? float_to_e5m2(v) : float_to_e4m3(v)) << (8 * h);
      }
      target(w, i)[l] = out;
    });
  }
  Type to, from;
  if (!type_of(to_text, to) || !type_of(from_text, from)) return nullptr;
  i.kind = from.kind | from.bytes << 4 | to.kind << 8 | to.bytes << 12;
  i.flags = m.has("rz") || m.has("rzi") ? kZero : m.has("rm") || m.has("rmi") ? kDown : m.has("rp") || m.has("rpi") ? kUp : kNearest;
  if ((i.flags & 3) != 0 && (to.kind == kF16 || to.kind == kBf16)) return nullptr;
  if (m.has("sat")) i.flags |= 4;
  if (m.has("ftz")) i.flags |= 8;
  if (m.has("relu")) i.flags |= 16;
  if (m.has("rni") || m.has("rzi") || m.has("rmi") || m.has("rpi")) i.flags |= 32;
  return convert;
}

namespace {

// ---- Moves ----

}  // namespace

/// mov of vectors packs and unpacks: the elements share the bits of the scalar.
Handler decode_mov(Instruction& i, const Mods& m) {
  const std::string& t = m.type();
  i.width = t == "pred" ? 1 : t.back() == '4' ? 64 : t.back() == '2' ? 32 : t.back() == '6' ? 16 : t == "b128" ? 0 : 8;
  if (i.width == 0) return nullptr;
  if (i.operands.size() == 2) {
    return [](Warp& w, const Instruction& i, u32 lanes) {
      u64* d = target(w, i);
      const u64* a = source(w, i, 1);
      const u64 mask = i.width == 64 ? ~u64{0} : (u64{1} << i.width) - 1;
      for_lanes(lanes, [&](int l) { d[l] = a[l] & mask; });
    };
  }
  const auto brace = i.text.find('{');
  i.kind = i.text.find(',') > brace;  // the target is the vector: unpack
  i.count = static_cast<int>(i.operands.size()) - 1;
  return lanes_op([](Warp& w, const Instruction& i, int l) {
    const int bits = i.width / i.count;
    const u64 mask = (u64{1} << bits) - 1;
    if (i.kind != 0) {
      const u64 value = source(w, i, i.count)[l];
      for (int n = 0; n < i.count; n++) target(w, i, n)[l] = value >> (bits * n) & mask;
    } else {
      u64 value = 0;
      for (int n = 0; n < i.count; n++) value |= (source(w, i, n + 1)[l] & mask) << (bits * n);
      target(w, i)[l] = value;
    }
  });
}

Handler decode_selp() {
  return [](Warp& w, const Instruction& i, u32 lanes) {
    u64* d = target(w, i);
    const u64 *a = source(w, i, 1), *b = source(w, i, 2), *p = source(w, i, 3);
    for_lanes(lanes, [&](int l) { d[l] = p[l] != 0 ? a[l] : b[l]; });
  };
}

}  // namespace vgpu
