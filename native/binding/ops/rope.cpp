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
constexpr std::size_t kRopeOptions = 11;

RopeOptions rope_options(const Args& a, std::size_t first) {
  RopeOptions options;
  options.dim = static_cast<int>(a.integer(first, "dim"));
  options.interleaved = a.flag(first + 1, "interleaved");
  options.theta = a.number(first + 2, "theta");
  options.scaling = scaling_named(a.text(first + 3, "scaling"));
  options.factor = a.number(first + 4, "factor");
  options.low_freq_factor = a.number(first + 5, "lowFreqFactor");
  options.high_freq_factor = a.number(first + 6, "highFreqFactor");
  options.original_max_positions = a.number(first + 7, "originalMaxPositions");
  options.beta_fast = a.number(first + 8, "betaFast");
  options.beta_slow = a.number(first + 9, "betaSlow");
  options.magnitude = a.number(first + 10, "magnitude");
  return options;
}

Napi::Value rope_(const Napi::CallbackInfo& info) {
  const Args args(info, 3 + kRopeOptions);
  const std::optional<Tensor> out = args.optional_tensor(2, "out");
  return out_handle(args.env(), rope(args.tensor(0, "x"), args.optional_tensor(1, "positions"), out, rope_options(args, 3)), out.has_value());
}

Napi::Value rope_append_(const Napi::CallbackInfo& info) {
  const Args args(info, 5 + kRopeOptions);
  rope_append(args.tensor(0, "src"), args.tensor(1, "pages"), args.required_ints(2, "slots"), args.optional_tensor(3, "scales"),
              args.optional_tensor(4, "positions"), rope_options(args, 5));
  return args.env().Undefined();
}

}  // namespace

void export_rope(Napi::Env env, Napi::Object exports) {
  export_function<rope_>(env, exports, "rope");
  export_function<rope_append_>(env, exports, "ropeAppend");
}

}  // namespace attn::binding
