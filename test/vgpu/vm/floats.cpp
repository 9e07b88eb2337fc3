// Floating-point arithmetic: f32, f64, and f16 and bf16 single and in pairs, each computed in double and rounded once. PTX ISA 9.7.3 to 9.7.5.
#include "lanes.h"

namespace vgpu {
namespace {

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

/// fma in a direction: the exact result lies between two floats; double rounding is avoided by comparing with the exact residue.
float fma_toward(float a, float b, float c, bool down) {
  const long double exact = static_cast<long double>(a) * b + static_cast<long double>(c);
  float f = static_cast<float>(exact);
  if (down && static_cast<long double>(f) > exact) f = std::nextafter(f, -INFINITY);
  if (!down && static_cast<long double>(f) < exact) f = std::nextafter(f, INFINITY);
  return f;
}

}  // namespace

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

}  // namespace vgpu
