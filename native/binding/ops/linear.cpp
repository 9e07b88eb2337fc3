#include "core/linear.h"

#include "binding/args.h"
#include "binding/export.h"
#include "binding/ops/ops.h"

namespace attn::binding {
namespace {

Napi::Value linear_(const Napi::CallbackInfo& info) {
  const Args args(info, 4);
  const std::optional<Tensor> out = args.optional_tensor(3, "out");
  return out_handle(args.env(), linear(args.tensor(0, "x"), args.tensor(1, "weight"), args.optional_tensor(2, "bias"), out), out.has_value());
}

Napi::Value linear_per_head_(const Napi::CallbackInfo& info) {
  const Args args(info, 2);
  return make_handle(args.env(), linear_per_head(args.tensor(0, "x"), args.tensor(1, "weight")));
}

}  // namespace

void export_linear(Napi::Env env, Napi::Object exports) {
  export_function<linear_>(env, exports, "linear");
  export_function<linear_per_head_>(env, exports, "linearPerHead");
}

}  // namespace attn::binding
