#include "binding/attention_options.h"

#include <cmath>

namespace attn::binding {
namespace {

enum Place : std::size_t {
  kCausal,
  kWindowLeft,
  kWindowRight,
  kSoftmaxScale,
  kLogitSoftcap,
  kAlibiSlopes,
  kSinks,
  kReturnLse,
  kOut,
  kQueryScales,
  kKeyScales,
  kValueScales,
  kDType
};
static_assert(kDType + 1 == kAttentionOptions);

}  // namespace

AttentionOptions attention_options(const Args& args, std::size_t first) {
  AttentionOptions options;
  options.causal = args.flag(first + kCausal, "causal");
  options.window_left = args.integer(first + kWindowLeft, "windowLeft");
  options.window_right = args.integer(first + kWindowRight, "windowRight");
  const double scale = args.number(first + kSoftmaxScale, "softmaxScale");
  if (!std::isnan(scale)) options.softmax_scale = static_cast<float>(scale);
  options.logit_softcap = static_cast<float>(args.number(first + kLogitSoftcap, "logitSoftcap"));
  options.alibi_slopes = args.optional_tensor(first + kAlibiSlopes, "alibiSlopes");
  options.sinks = args.optional_tensor(first + kSinks, "sinks");
  options.return_lse = args.flag(first + kReturnLse, "returnLse");
  options.out = args.optional_tensor(first + kOut, "out");
  options.query_scales = args.optional_tensor(first + kQueryScales, "queryScales");
  options.key_scales = args.optional_tensor(first + kKeyScales, "keyScales");
  options.value_scales = args.optional_tensor(first + kValueScales, "valueScales");
  const std::int64_t dtype = args.integer(first + kDType, "dtype");
  if (dtype >= 0) options.dtype = dtype_numbered(dtype);
  return options;
}

Napi::Value attention_result(const Args& args, std::size_t first, const AttentionOutput& output) {
  const Napi::Env env = args.env();
  const Napi::Value out = out_handle(env, output.out, !args.value(first + kOut).IsNull());
  return output.lse ? handle_pair(env, out, make_handle(env, *output.lse)) : out;
}

Napi::Value plan_result(Napi::Env env, const PlanInfo& plan) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("kernel", plan.kernel);
  result.Set("numSplits", static_cast<double>(plan.num_splits));
  result.Set("workspaceBytes", static_cast<double>(plan.workspace_bytes));
  result.Set("schedule", plan.schedule ? Napi::Value(make_handle(env, plan.schedule->words)) : Napi::Value(env.Null()));
  result.Set("scheduleSize", static_cast<double>(plan.schedule ? plan.schedule->words.view.shape[0] : 0));
  result.Set("parts", static_cast<double>(plan.schedule ? plan.schedule->parts : 0));
  result.Set("pieces", static_cast<double>(plan.schedule ? plan.schedule->pieces : 0));
  return result;
}

}  // namespace attn::binding
