// Integer arithmetic, logic, shifts and bit fields. PTX ISA 9.7.1 and 9.7.8.
#include <limits>

#include "lanes.h"

namespace vgpu {
namespace {

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

}  // namespace

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

}  // namespace vgpu
