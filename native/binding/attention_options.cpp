#include "binding/attention_options.h"

#include <cmath>

namespace attn::binding {
namespace {

bool flag(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsBoolean()) fail_argument(ErrorCode::kInvalidArgument, name, "true or false", "another value");
  return value.As<Napi::Boolean>();
}

double number(const Napi::Object& object, const char* name) { return Args::number_of(object.Get(name), name); }

}  // namespace

AttentionOptions attention_options(const Args& args, std::size_t i) {
  const Napi::Object object = args.object(i, "options");
  AttentionOptions options;
  options.causal = flag(object, "causal");
  options.window_left = Args::integer_of(object.Get("windowLeft"), "windowLeft");
  options.window_right = Args::integer_of(object.Get("windowRight"), "windowRight");
  const double scale = number(object, "softmaxScale");
  if (!std::isnan(scale)) options.softmax_scale = static_cast<float>(scale);
  options.logit_softcap = static_cast<float>(number(object, "logitSoftcap"));
  options.alibi_slopes = unwrap_optional_handle("alibiSlopes", object.Get("alibiSlopes"));
  options.sinks = unwrap_optional_handle("sinks", object.Get("sinks"));
  options.return_lse = flag(object, "returnLse");
  options.out = unwrap_optional_handle("out", object.Get("out"));
  return options;
}

Napi::Value attention_result(const Args& args, std::size_t i, const AttentionOutput& output) {
  const Napi::Env env = args.env();
  const bool given = !args.object(i, "options").Get("out").IsNull();
  Napi::Object result = Napi::Object::New(env);
  result.Set("out", out_handle(env, output.out, given));
  result.Set("lse", output.lse ? make_handle(env, *output.lse) : env.Null());
  return result;
}

Napi::Value plan_result(Napi::Env env, const PlanInfo& plan) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("kernel", plan.kernel);
  result.Set("numSplits", static_cast<double>(plan.num_splits));
  result.Set("workspaceBytes", static_cast<double>(plan.workspace_bytes));
  return result;
}

}  // namespace attn::binding
