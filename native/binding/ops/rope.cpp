#include "core/rope.h"

#include "binding/args.h"
#include "binding/export.h"
#include "binding/ops/ops.h"

namespace attn::binding {
namespace {

RopeScaling scaling_named(const std::string& name) {
  if (name.empty()) return RopeScaling::kNone;
  if (name == "linear") return RopeScaling::kLinear;
  if (name == "llama3") return RopeScaling::kLlama3;
  if (name == "yarn") return RopeScaling::kYarn;
  fail_argument(ErrorCode::kInvalidArgument, "config.scaling.type", "'linear', 'llama3' or 'yarn'", name);
}

/// The last arguments of the call, in the order of NativeRopeOptions in lib/native.ts.
constexpr std::size_t kFirst = 3, kRopeOptions = 11;

RopeOptions rope_options(const Args& a) {
  RopeOptions options;
  options.dim = static_cast<int>(a.integer(kFirst, "dim"));
  options.interleaved = a.flag(kFirst + 1, "interleaved");
  options.theta = a.number(kFirst + 2, "theta");
  options.scaling = scaling_named(a.text(kFirst + 3, "scaling"));
  options.factor = a.number(kFirst + 4, "factor");
  options.low_freq_factor = a.number(kFirst + 5, "lowFreqFactor");
  options.high_freq_factor = a.number(kFirst + 6, "highFreqFactor");
  options.original_max_positions = a.number(kFirst + 7, "originalMaxPositions");
  options.beta_fast = a.number(kFirst + 8, "betaFast");
  options.beta_slow = a.number(kFirst + 9, "betaSlow");
  options.magnitude = a.number(kFirst + 10, "magnitude");
  return options;
}

Napi::Value rope_(const Napi::CallbackInfo& info) {
  const Args args(info, kFirst + kRopeOptions);
  const std::optional<Tensor> out = args.optional_tensor(2, "out");
  return out_handle(args.env(), rope(args.tensor(0, "x"), args.optional_tensor(1, "positions"), out, rope_options(args)), out.has_value());
}

}  // namespace

void export_rope(Napi::Env env, Napi::Object exports) { export_function<rope_>(env, exports, "rope"); }

}  // namespace attn::binding
