#include "core/rms_norm.h"

#include "binding/args.h"
#include "binding/export.h"
#include "binding/ops/ops.h"

namespace attn::binding {
namespace {

Napi::Value rms_norm_(const Napi::CallbackInfo& info) {
  const Args args(info, 4);
  const std::optional<Tensor> out = args.optional_tensor(3, "out");
  return out_handle(args.env(), rms_norm(args.tensor(0, "x"), args.tensor(1, "weight"), static_cast<float>(args.number(2, "eps")), out), out.has_value());
}

}  // namespace

void export_rms_norm(Napi::Env env, Napi::Object exports) { export_function<rms_norm_>(env, exports, "rmsNorm"); }

}  // namespace attn::binding
