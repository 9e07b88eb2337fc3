// Registers lane by lane: what every scalar instruction's handler is made of.
//
// A register slot holds 32 lanes of 64 bits; an instruction reads the low bits of its type. Predicates are 0 or 1.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "half.h"
#include "warp.h"

namespace vgpu {

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

inline const u64* source(Warp& w, const Instruction& i, int n) { return w.reg(i.operands[static_cast<std::size_t>(n)]); }
inline u64* target(Warp& w, const Instruction& i, int n = 0) { return w.reg(i.operands[static_cast<std::size_t>(n)]); }

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

// ---- 16-bit floats ----

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

inline float flush(float v) { return std::fpclassify(v) == FP_SUBNORMAL ? std::copysign(0.0f, v) : v; }

template <class T>
T saturate(T v) {
  return std::isnan(v) ? T{0} : std::clamp(v, T{0}, T{1});
}

struct Mods {
  const std::vector<std::string>& parts;
  bool has(const char* name) const { return std::find(parts.begin() + 1, parts.end(), name) != parts.end(); }
  const std::string& type() const { return parts.back(); }
};

template <class F>
Handler lanes_op(F) {
  return [](Warp& w, const Instruction& i, u32 lanes) { for_lanes(lanes, [&](int l) { F{}(w, i, l); }); };
}

inline u32 v32(Warp& w, const Instruction& i, int n, int l) { return static_cast<u32>(source(w, i, n)[l]); }

/// The handlers of the instructions whose type or opcode a file knows; null: unknown.
Handler decode_float(Instruction& i, const Mods& m);
Handler decode_integer(Instruction& i, const Mods& m);
Handler decode_bits(Instruction& i, const Mods& m);
Handler decode_setp(Instruction& i, const Mods& m);
Handler decode_cvt(Instruction& i, const Mods& m);
Handler decode_mov(Instruction& i, const Mods& m);
Handler decode_selp();
Handler decode_warp(Instruction& i, const Mods& m);

}  // namespace vgpu
