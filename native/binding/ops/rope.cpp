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

RopeOptions rope_options(const Napi::Object& object) {
  const auto number = [&](const char* name) { return Args::number_of(object.Get(name), name); };
  RopeOptions options;
  options.dim = static_cast<int>(Args::integer_of(object.Get("dim"), "dim"));
  options.interleaved = object.Get("interleaved").ToBoolean();
  options.theta = number("theta");
  options.scaling = scaling_named(object.Get("scaling").ToString());
  options.factor = number("factor");
  options.low_freq_factor = number("lowFreqFactor");
  options.high_freq_factor = number("highFreqFactor");
  options.original_max_positions = number("originalMaxPositions");
  options.beta_fast = number("betaFast");
  options.beta_slow = number("betaSlow");
  options.magnitude = number("magnitude");
  return options;
}

Napi::Value rope_(const Napi::CallbackInfo& info) {
  const Args args(info, 4);
  const std::optional<Tensor> out = args.optional_tensor(2, "out");
  return out_handle(args.env(), rope(args.tensor(0, "x"), args.optional_tensor(1, "positions"), out, rope_options(args.object(3, "config"))), out.has_value());
}

}  // namespace

void export_rope(Napi::Env env, Napi::Object exports) { export_function<rope_>(env, exports, "rope"); }

}  // namespace attn::binding
