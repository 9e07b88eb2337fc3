#include "core/latent_rows.h"

#include "binding/args.h"
#include "binding/export.h"
#include "binding/ops/ops.h"

namespace attn::binding {
namespace {

Napi::Value latent_append_(const Napi::CallbackInfo& info) {
  const Args args(info, 4);
  latent_append(args.tensor(0, "ckv"), args.tensor(1, "kPe"), args.tensor(2, "latents"), args.required_ints(3, "slots"));
  return args.env().Undefined();
}

Napi::Value latent_gather_(const Napi::CallbackInfo& info) {
  const Args args(info, 5);
  return make_handle(args.env(), latent_gather(args.tensor(0, "latents"), args.required_ints(1, "pageList"), args.integer(2, "begin"), args.integer(3, "end"),
                                               dtype_numbered(args.integer(4, "dtype"))));
}

}  // namespace

void export_latent_rows(Napi::Env env, Napi::Object exports) {
  export_function<latent_append_>(env, exports, "latentAppend");
  export_function<latent_gather_>(env, exports, "latentGather");
}

}  // namespace attn::binding
