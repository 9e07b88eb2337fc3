// Scalar and packed instructions: arithmetic, logic, comparison, conversion, moves, control flow, shuffles and votes. PTX ISA 9.7.
//
// A register slot holds 32 lanes of 64 bits; an instruction reads the low bits of its type. Predicates are 0 or 1.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <set>
#include <type_traits>

#include "half.h"
#include "warp.h"

namespace vgpu {
namespace {

using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

template <class T>
T get(u64 bits) {
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<float>(static_cast<u32>(bits));
  } else if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<double>(bits);
  } else {
    return static_cast<T>(bits);
  }
}

template <class T>
u64 put(T value) {
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<u32>(value);
  } else if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<u64>(value);
  } else {
    return static_cast<u64>(static_cast<std::make_unsigned_t<std::conditional_t<std::is_same_v<T, bool>, u8, T>>>(value));
  }
}

template <class F>
void for_lanes(u32 lanes, F f) {
  if (lanes == kAllLanes) {
    for (int l = 0; l < 32; l++) f(l);
  } else {
    for (u32 left = lanes; left != 0; left &= left - 1) f(std::countr_zero(left));
  }
}

const u64* source(Warp& w, const Instruction& i, int n) { return w.reg(i.operands[static_cast<std::size_t>(n)]); }
u64* target(Warp& w, const Instruction& i, int n = 0) { return w.reg(i.operands[static_cast<std::size_t>(n)]); }

template <class T, class F>
Handler unary(F) {
  return [](Warp& w, const Instruction& i, u32 lanes) {
    u64* d = target(w, i);
    const u64* a = source(w, i, 1);
    for_lanes(lanes, [&](int l) { d[l] = put(F{}(get<T>(a[l]))); });
  };
}

template <class T, class F>
Handler binary(F) {
  return [](Warp& w, const Instruction& i, u32 lanes) {
    u64* d = target(w, i);
    const u64* a = source(w, i, 1);
    const u64* b = source(w, i, 2);
    for_lanes(lanes, [&](int l) { d[l] = put(F{}(get<T>(a[l]), get<T>(b[l]))); });
  };
}

template <class T, class F>
Handler ternary(F) {
  return [](Warp& w, const Instruction& i, u32 lanes) {
    u64* d = target(w, i);
    const u64* a = source(w, i, 1);
    const u64* b = source(w, i, 2);
    const u64* c = source(w, i, 3);
    for_lanes(lanes, [&](int l) { d[l] = put(F{}(get<T>(a[l]), get<T>(b[l]), get<T>(c[l]))); });
  };
}

/// `make` is called with a value of the C++ type of a PTX integer type.
template <class Make>
Handler for_integer(const std::string& type, Make make) {
  if (type == "s16") return make(i16{});
  if (type == "u16" || type == "b16") return make(u16{});
  if (type == "s32") return make(i32{});
  if (type == "u32" || type == "b32") return make(u32{});
  if (type == "s64") return make(i64{});
  if (type == "u64" || type == "b64") return make(u64{});
  return nullptr;
}

template <class F>
Handler integer_unary(const std::string& type, F f) {
  return for_integer(type, [&](auto t) { return unary<decltype(t)>(f); });
}
template <class F>
Handler integer_binary(const std::string& type, F f) {
  return for_integer(type, [&](auto t) { return binary<decltype(t)>(f); });
}
template <class F>
Handler integer_ternary(const std::string& type, F f) {
  return for_integer(type, [&](auto t) { return ternary<decltype(t)>(f); });
}

// ---- Packed and single 16-bit floats: the operation in double, rounded once ----

template <bool kBf16>
float from16(u64 bits) {
  return kBf16 ? bf16_to_float(static_cast<u16>(bits)) : f16_to_float(static_cast<u16>(bits));
}

/// Rounds a double to 16 bits once: through float32 to odd, so that the second rounding cannot go wrong.
template <bool kBf16>
u16 to16(double value) {
  float f = static_cast<float>(value);
  if (!std::isnan(value) && !std::isinf(f) && static_cast<double>(f) != value) {
    u32 bits = std::bit_cast<u32>(f);
    if (std::fabs(static_cast<double>(f)) > std::fabs(value)) bits--;
    f = std::bit_cast<float>(bits | 1);
  }
  if (std::isnan(f)) return 0x7fff;
  return kBf16 ? float_to_bf16(f) : float_to_f16(f);
}

template <bool kBf16, int kOperands, class F>
Handler packed(F) {
  static constexpr auto run = [](Warp& w, const Instruction& i, u32 lanes) {
    u64* d = target(w, i);
    const u64* s[3];
    for (int n = 0; n < kOperands; n++) s[n] = source(w, i, n + 1);
    for_lanes(lanes, [&](int l) {
      u64 out = 0;
      for (int h = 0; h < i.width; h++) {
        double v[3] = {};
        for (int n = 0; n < kOperands; n++) v[n] = static_cast<double>(from16<kBf16>(s[n][l] >> (16 * h)));
        out |= static_cast<u64>(to16<kBf16>(F{}(v[0], v[1], v[2]))) << (16 * h);
      }
      d[l] = out;
    });
  };
  return run;
}

template <int kOperands, class F>
Handler half_op(Instruction& i, const std::string& type, F f) {
  if (type != "f16" && type != "bf16" && type != "f16x2" && type != "bf16x2") return nullptr;
  i.width = type.back() == '2' ? 2 : 1;
  return type[0] == 'b' ? packed<true, kOperands>(f) : packed<false, kOperands>(f);
}

// min and max return the other operand for a NaN, unless .NaN asks for it.
template <class T>
T min_number(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (a == b) return std::signbit(a) ? a : b;
    return std::fmin(a, b);
  } else {
    return std::min(a, b);
  }
}
template <class T>
T max_number(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (a == b) return std::signbit(a) ? b : a;
    return std::fmax(a, b);
  } else {
    return std::max(a, b);
  }
}

float flush(float v) { return std::fpclassify(v) == FP_SUBNORMAL ? std::copysign(0.0f, v) : v; }

template <class T>
T saturate(T v) {
  return std::isnan(v) ? T{0} : std::clamp(v, T{0}, T{1});
}

struct Mods {
  const std::vector<std::string>& parts;
  bool has(const char* name) const { return std::find(parts.begin() + 1, parts.end(), name) != parts.end(); }
  const std::string& type() const { return parts.back(); }
};

/// fma in a direction: the exact result lies between two floats; double rounding is avoided by comparing with the exact residue.
float fma_toward(float a, float b, float c, bool down) {
  const long double exact = static_cast<long double>(a) * b + static_cast<long double>(c);
  float f = static_cast<float>(exact);
  if (down && static_cast<long double>(f) > exact) f = std::nextafter(f, -INFINITY);
  if (!down && static_cast<long double>(f) < exact) f = std::nextafter(f, INFINITY);
  return f;
}

Handler decode_float(Instruction& i, const Mods& m) {
  const std::string& op = i.opcode;
  const std::string& t = m.type();
  const bool f32 = t == "f32";
  if (t == "f16" || t == "bf16" || t == "f16x2" || t == "bf16x2") {
    if (m.has("sat") || m.has("relu")) return nullptr;
    if (op == "add") return half_op<2>(i, t, [](double a, double b, double) { return a + b; });
    if (op == "sub") return half_op<2>(i, t, [](double a, double b, double) { return a - b; });
    if (op == "mul") return half_op<2>(i, t, [](double a, double b, double) { return a * b; });
    if (op == "fma") return half_op<3>(i, t, [](double a, double b, double c) { return std::fma(a, b, c); });
    if (op == "neg") return half_op<1>(i, t, [](double a, double, double) { return -a; });
    if (op == "abs") return half_op<1>(i, t, [](double a, double, double) { return std::fabs(a); });
    if (op == "ex2") return half_op<1>(i, t, [](double a, double, double) { return std::exp2(a); });
    if (op == "tanh") return half_op<1>(i, t, [](double a, double, double) { return std::tanh(a); });
    const bool nan = m.has("NaN");
    if (op == "min" && !nan) return half_op<2>(i, t, [](double a, double b, double) { return min_number(a, b); });
    if (op == "max" && !nan) return half_op<2>(i, t, [](double a, double b, double) { return max_number(a, b); });
    if (op == "min") return half_op<2>(i, t, [](double a, double b, double) { return std::isnan(a) || std::isnan(b) ? NAN : min_number(a, b); });
    if (op == "max") return half_op<2>(i, t, [](double a, double b, double) { return std::isnan(a) || std::isnan(b) ? NAN : max_number(a, b); });
    return nullptr;
  }
  if (!f32 && t != "f64") return nullptr;
  auto one = [&](auto f) { return f32 ? unary<float>(f) : unary<double>(f); };
  auto two = [&](auto f) { return f32 ? binary<float>(f) : binary<double>(f); };
  const bool directed = m.has("rz") || m.has("rm") || m.has("rp");
  if (directed && !(op == "fma" && f32 && !m.has("rz"))) return nullptr;
  if (m.has("sat") && !(f32 && (op == "add" || op == "mul" || op == "fma"))) return nullptr;
  const bool ftz = m.has("ftz");
  if (m.has("sat")) {
    if (op == "add") return binary<float>([](float a, float b) { return saturate(a + b); });
    if (op == "mul") return binary<float>([](float a, float b) { return saturate(a * b); });
    return ternary<float>([](float a, float b, float c) { return saturate(std::fma(a, b, c)); });
  }
  if (ftz && f32) {
    if (op == "add") return binary<float>([](float a, float b) { return flush(flush(a) + flush(b)); });
    if (op == "sub") return binary<float>([](float a, float b) { return flush(flush(a) - flush(b)); });
    if (op == "mul") return binary<float>([](float a, float b) { return flush(flush(a) * flush(b)); });
    if (op == "fma") return ternary<float>([](float a, float b, float c) { return flush(std::fma(flush(a), flush(b), flush(c))); });
    if (op == "ex2") return unary<float>([](float a) { return flush(std::exp2(flush(a))); });
    if (op == "rcp") return unary<float>([](float a) { return flush(1 / flush(a)); });
  }
  if (op == "add") return two([](auto a, auto b) { return a + b; });
  if (op == "sub") return two([](auto a, auto b) { return a - b; });
  if (op == "mul") return two([](auto a, auto b) { return a * b; });
  if (op == "div") return two([](auto a, auto b) { return a / b; });
  if (op == "min" || op == "max") {
    if (m.has("NaN")) {
      return op == "min" ? two([](auto a, auto b) { return std::isnan(a) || std::isnan(b) ? static_cast<decltype(a)>(NAN) : min_number(a, b); })
                         : two([](auto a, auto b) { return std::isnan(a) || std::isnan(b) ? static_cast<decltype(a)>(NAN) : max_number(a, b); });
    }
    return op == "min" ? two([](auto a, auto b) { return min_number(a, b); }) : two([](auto a, auto b) { return max_number(a, b); });
  }
  if (op == "fma" || op == "mad") {
    if (m.has("rm")) return ternary<float>([](float a, float b, float c) { return fma_toward(a, b, c, true); });
    if (m.has("rp")) return ternary<float>([](float a, float b, float c) { return fma_toward(a, b, c, false); });
    auto f = [](auto a, auto b, auto c) { return std::fma(a, b, c); };
    return f32 ? ternary<float>(f) : ternary<double>(f);
  }
  if (op == "neg") return one([](auto a) { return -a; });
  if (op == "abs") return one([](auto a) { return std::fabs(a); });
  if (op == "rcp") return one([](auto a) { return 1 / a; });
  if (op == "sqrt") return one([](auto a) { return std::sqrt(a); });
  if (op == "rsqrt") return one([](auto a) { return 1 / std::sqrt(a); });
  if (op == "ex2") return one([](auto a) { return std::exp2(a); });
  if (op == "lg2") return one([](auto a) { return std::log2(a); });
  if (op == "sin") return one([](auto a) { return std::sin(a); });
  if (op == "cos") return one([](auto a) { return std::cos(a); });
  if (op == "tanh") return one([](auto a) { return std::tanh(a); });
  if (op == "copysign") return two([](auto a, auto b) { return std::copysign(b, a); });
  return nullptr;
}

template <class T>
using Wide = std::conditional_t<sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, i32, u32>,
                                std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, i64, u64>,
                                                   std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>>>;

Handler decode_multiply(const Mods& m, bool add) {
  const std::string& t = m.type();
  if (m.has("wide")) {
    return for_integer(t, [&](auto zero) -> Handler {
      using T = decltype(zero);
      if constexpr (sizeof(T) == 8) {
        return nullptr;
      } else if (add) {
        return [](Warp& w, const Instruction& i, u32 lanes) {
          u64* d = target(w, i);
          const u64 *a = source(w, i, 1), *b = source(w, i, 2), *c = source(w, i, 3);
          for_lanes(lanes, [&](int l) { d[l] = put<Wide<T>>(static_cast<Wide<T>>(static_cast<u64>(Wide<T>(get<T>(a[l])) * Wide<T>(get<T>(b[l]))) + c[l])); });
        };
      } else {
        return [](Warp& w, const Instruction& i, u32 lanes) {
          u64* d = target(w, i);
          const u64 *a = source(w, i, 1), *b = source(w, i, 2);
          for_lanes(lanes, [&](int l) { d[l] = put<Wide<T>>(Wide<T>(get<T>(a[l])) * Wide<T>(get<T>(b[l]))); });
        };
      }
    });
  }
  if (m.has("hi")) {
    auto high = [](auto a, auto b) {
      using T = decltype(a);
      return static_cast<T>(Wide<T>(a) * Wide<T>(b) >> (8 * sizeof(T)));
    };
    if (add) return nullptr;
    return integer_binary(t, high);
  }
  if (!m.has("lo")) return nullptr;
  return add ? integer_ternary(t,
                               [](auto a, auto b, auto c) { return static_cast<decltype(a)>(static_cast<u64>(a) * static_cast<u64>(b) + static_cast<u64>(c)); })
             : integer_binary(t, [](auto a, auto b) { return static_cast<decltype(a)>(static_cast<u64>(a) * static_cast<u64>(b)); });
}

/// Shift amounts are clamped to the width. PTX ISA 9.7.8.
Handler decode_shift(const std::string& type, bool left) {
  return for_integer(type, [&](auto zero) -> Handler {
    using T = decltype(zero);
    if (left) {
      return [](Warp& w, const Instruction& i, u32 lanes) {
        u64* d = target(w, i);
        const u64 *a = source(w, i, 1), *b = source(w, i, 2);
        for_lanes(lanes, [&](int l) {
          const u32 n = static_cast<u32>(b[l]);
          d[l] = n >= 8 * sizeof(T) ? 0 : put<T>(static_cast<T>(a[l] << n));
        });
      };
    }
    return [](Warp& w, const Instruction& i, u32 lanes) {
      u64* d = target(w, i);
      const u64 *a = source(w, i, 1), *b = source(w, i, 2);
      for_lanes(lanes, [&](int l) {
        const u32 n = std::min<u32>(static_cast<u32>(b[l]), 8 * sizeof(T));
        const T value = get<T>(a[l]);
        d[l] = put<T>(n == 8 * sizeof(T) ? static_cast<T>(value < 0 ? -1 : 0) : static_cast<T>(value >> n));
      });
    };
  });
}

template <class F>
Handler lanes_op(F) {
  return [](Warp& w, const Instruction& i, u32 lanes) { for_lanes(lanes, [&](int l) { F{}(w, i, l); }); };
}

u32 v32(Warp& w, const Instruction& i, int n, int l) { return static_cast<u32>(source(w, i, n)[l]); }

Handler decode_bits(Instruction& i, const Mods& m) {
  const std::string& op = i.opcode;
  const std::string& t = m.type();
  if (op == "and" || op == "or" || op == "xor" || op == "not") {
    if (t == "pred") {
      if (op == "not") return unary<u8>([](u8 a) { return static_cast<u8>(a ^ 1); });
      if (op == "and") return binary<u8>([](u8 a, u8 b) { return static_cast<u8>(a & b); });
      if (op == "or") return binary<u8>([](u8 a, u8 b) { return static_cast<u8>(a | b); });
      return binary<u8>([](u8 a, u8 b) { return static_cast<u8>(a ^ b); });
    }
    if (op == "not") return integer_unary(t, [](auto a) { return static_cast<decltype(a)>(~a); });
    if (op == "and") return integer_binary(t, [](auto a, auto b) { return static_cast<decltype(a)>(a & b); });
    if (op == "or") return integer_binary(t, [](auto a, auto b) { return static_cast<decltype(a)>(a | b); });
    return integer_binary(t, [](auto a, auto b) { return static_cast<decltype(a)>(a ^ b); });
  }
  if (op == "shl") return decode_shift(t, true);
  if (op == "shr") return decode_shift(t, false);
  if (op == "popc")
    return t == "b32" ? unary<u32>([](u32 a) { return static_cast<u32>(std::popcount(a)); })
                      : unary<u64>([](u64 a) { return static_cast<u32>(std::popcount(a)); });
  if (op == "clz")
    return t == "b32" ? unary<u32>([](u32 a) { return static_cast<u32>(std::countl_zero(a)); })
                      : unary<u64>([](u64 a) { return static_cast<u32>(std::countl_zero(a)); });
  if (op == "brev" && t == "b32") {
    return unary<u32>([](u32 a) {
      u32 out = 0;
      for (int b = 0; b < 32; b++) out |= (a >> b & 1) << (31 - b);
      return out;
    });
  }
  if (op == "bfind" && t == "u32" && !m.has("shiftamt")) return unary<u32>([](u32 a) { return a == 0 ? ~0u : 31u - static_cast<u32>(std::countl_zero(a)); });
  if (op == "bfi") {  // d, a (field), b (base), position, length
    i.width = t == "b64" ? 64 : 32;
    return lanes_op([](Warp& w, const Instruction& i, int l) {
      const u64 position = source(w, i, 3)[l] & 255;
      const u64 length = source(w, i, 4)[l] & 255;
      u64 out = source(w, i, 2)[l];
      for (u64 b = 0; b < length && position + b < static_cast<u64>(i.width); b++) {
        out = (out & ~(u64{1} << (position + b))) | (source(w, i, 1)[l] >> b & 1) << (position + b);
      }
      target(w, i)[l] = out;
    });
  }
  if (op == "bfe") {  // d, a, position, length; beyond the end a signed field repeats its sign
    i.width = t[1] == '6' ? 64 : 32;
    i.kind = t[0] == 's';
    return lanes_op([](Warp& w, const Instruction& i, int l) {
      const u64 a = source(w, i, 1)[l];
      const u64 position = source(w, i, 2)[l] & 255;
      const u64 length = source(w, i, 3)[l] & 255;
      const u64 last = static_cast<u64>(i.width) - 1;
      const u64 sign = i.kind == 0 || length == 0 ? 0 : a >> std::min(position + length - 1, last) & 1;
      u64 out = 0;
      for (u64 b = 0; b <= last; b++) out |= (b < length && position + b <= last ? a >> (position + b) & 1 : sign) << b;
      target(w, i)[l] = out;
    });
  }
  if (op == "lop3" && t == "b32") {
    return lanes_op([](Warp& w, const Instruction& i, int l) {
      const u32 a = v32(w, i, 1, l), b = v32(w, i, 2, l), c = v32(w, i, 3, l), table = v32(w, i, 4, l);
      u32 out = 0;
      for (int bit = 0; bit < 32; bit++) out |= (table >> ((a >> bit & 1) << 2 | (b >> bit & 1) << 1 | (c >> bit & 1)) & 1) << bit;
      target(w, i)[l] = out;
    });
  }
  if (op == "prmt" && t == "b32" && m.parts.size() == 2) {
    return lanes_op([](Warp& w, const Instruction& i, int l) {
      const u64 bytes = v32(w, i, 1, l) | static_cast<u64>(v32(w, i, 2, l)) << 32;
      u32 out = 0;
      for (int n = 0; n < 4; n++) {
        const u32 selector = v32(w, i, 3, l) >> (4 * n) & 15;
        const u32 byte = static_cast<u32>(bytes >> (8 * (selector & 7)) & 255);
        out |= (selector & 8 ? (byte & 128 ? 255u : 0u) : byte) << (8 * n);
      }
      target(w, i)[l] = out;
    });
  }
  if (op == "shf" && t == "b32") {  // d, low, high, amount
    i.kind = m.has("l") | (m.has("wrap") ? 2 : 0);
    return lanes_op([](Warp& w, const Instruction& i, int l) {
      const u64 value = v32(w, i, 1, l) | static_cast<u64>(v32(w, i, 2, l)) << 32;
      const u32 n = i.kind & 2 ? v32(w, i, 3, l) & 31 : std::min(v32(w, i, 3, l), 32u);
      target(w, i)[l] = static_cast<u32>(i.kind & 1 ? value << n >> 32 : value >> n);
    });
  }
  return nullptr;
}

Handler decode_integer(Instruction& i, const Mods& m) {
  const std::string& op = i.opcode;
  const std::string& t = m.type();
  if (m.has("sat") || m.has("cc")) return nullptr;
  if (op == "add") return integer_binary(t, [](auto a, auto b) { return static_cast<decltype(a)>(static_cast<u64>(a) + static_cast<u64>(b)); });
  if (op == "sub") return integer_binary(t, [](auto a, auto b) { return static_cast<decltype(a)>(static_cast<u64>(a) - static_cast<u64>(b)); });
  if (op == "mul" || op == "mad") return decode_multiply(m, op == "mad");
  // Division by zero gives unspecified bits; all ones here.
  if (op == "div")
    return integer_binary(t, [](auto a, auto b) {
      return b == 0 ? static_cast<decltype(a)>(-1)
                    : static_cast<decltype(a)>(b == static_cast<decltype(a)>(-1) && std::is_signed_v<decltype(a)> ? 0 - static_cast<u64>(a)
                                                                                                                  : static_cast<u64>(a / b));
    });
  if (op == "rem")
    return integer_binary(t, [](auto a, auto b) {
      return b == 0 ? a : static_cast<decltype(a)>(b == static_cast<decltype(a)>(-1) && std::is_signed_v<decltype(a)> ? 0 : a % b);
    });
  if (op == "min") return integer_binary(t, [](auto a, auto b) { return std::min(a, b); });
  if (op == "max") return integer_binary(t, [](auto a, auto b) { return std::max(a, b); });
  if (op == "neg") return integer_unary(t, [](auto a) { return static_cast<decltype(a)>(0 - static_cast<u64>(a)); });
  if (op == "abs") return integer_unary(t, [](auto a) { return static_cast<decltype(a)>(a < 0 ? 0 - static_cast<u64>(a) : static_cast<u64>(a)); });
  if (op == "sad")
    return integer_ternary(t, [](auto a, auto b, auto c) {
      return static_cast<decltype(a)>(static_cast<u64>(c) + (a > b ? static_cast<u64>(a) - static_cast<u64>(b) : static_cast<u64>(b) - static_cast<u64>(a)));
    });
  return nullptr;
}

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
  if (from_text == "e4m3x2" && to_text == "f16x2") {
    return lanes_op([](Warp& w, const Instruction& i, int l) {
      const u64 a = source(w, i, 1)[l];
      target(w, i)[l] = float_to_f16(e4m3_to_float(static_cast<u8>(a))) | static_cast<u32>(float_to_f16(e4m3_to_float(static_cast<u8>(a >> 8)))) << 16;
    });
  }
  if (from_text == "f32" && to_text == "e4m3x2" && m.has("satfinite")) {
    return lanes_op([](Warp& w, const Instruction& i, int l) {
      target(w, i)[l] = float_to_e4m3(get<float>(source(w, i, 2)[l])) | static_cast<u32>(float_to_e4m3(get<float>(source(w, i, 1)[l]))) << 8;
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

// ---- Moves ----

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

// ---- Control flow and the warp ----

void exit_lanes(Warp& w, const Instruction& i, u32 lanes) {
  for (const PendingCopy& copy : w.copies) {
    if (lanes >> copy.lane & 1)
      report(FindingKind::kOpenCopies, w, *copy.instruction, u32{1} << copy.lane, "no cp.async.wait covers this copy before the thread exits");
  }
  (void)i;
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
    if (static_cast<u32>(mask[l]) != lanes) {
      report(FindingKind::kDivergence, w, i, lanes,
             "the member mask " + std::to_string(static_cast<u32>(mask[l])) + " is not the lanes that arrive together, " + std::to_string(lanes));
    }
  });
}

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

}  // namespace

bool decode(Instruction& i, const std::vector<std::string>& parts) {
  static const std::set<std::string> memory = {"ld",    "st",  "atom",    "red",     "cvta",          "prefetch", "prefetchu", "membar",
                                               "fence", "bar", "barrier", "discard", "applypriority", "ldu",      "isspacep"};
  static const std::set<std::string> tensor = {"mma", "ldmatrix", "stmatrix", "movmatrix", "cp"};
  if (memory.count(parts[0]) != 0) return decode_memory(i, parts);
  if (tensor.count(parts[0]) != 0) return decode_tensor(i, parts);
  const Mods m{parts};
  if (parts[0] == "mov") {
    i.run = decode_mov(i, m);
  } else if (parts[0] == "setp") {
    i.run = decode_setp(i, m);
  } else if (parts[0] == "cvt") {
    i.run = decode_cvt(i, m);
  } else if (parts[0] == "selp") {
    i.run = decode_selp();
  } else {
    i.run = decode_warp(i, m);
    if (i.run == nullptr) i.run = decode_bits(i, m);
    const std::string& t = m.type();
    const bool floating = t[0] == 'f' || t[0] == 'b';
    if (i.run == nullptr && parts.size() > 1) i.run = floating && t.find('f') != std::string::npos ? decode_float(i, m) : decode_integer(i, m);
  }
  return i.run != nullptr;
}

}  // namespace vgpu
