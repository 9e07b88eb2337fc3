#include "core/paged_kv.h"

#include "binding/args.h"
#include "binding/export.h"
#include "binding/ops/ops.h"

namespace attn::binding {
namespace {

Napi::Value paged_append_(const Napi::CallbackInfo& info) {
  const Args args(info, 4);
  paged_append(args.tensor(0, "src"), args.tensor(1, "pages"), args.required_ints(2, "slots"), args.optional_tensor(3, "scales"));
  return args.env().Undefined();
}

Napi::Value page_copy_(const Napi::CallbackInfo& info) {
  const Args args(info, 2);
  page_copy(args.tensor(0, "pages"), args.required_ints(1, "pairs"));
  return args.env().Undefined();
}

Napi::Value paged_gather_(const Napi::CallbackInfo& info) {
  const Args args(info, 4);
  return make_handle(args.env(), paged_gather(args.tensor(0, "pages"), args.required_ints(1, "pageList"), args.integer(2, "begin"), args.integer(3, "end")));
}

}  // namespace

void export_paged_kv(Napi::Env env, Napi::Object exports) {
  export_function<paged_append_>(env, exports, "pagedAppend");
  export_function<page_copy_>(env, exports, "pageCopy");
  export_function<paged_gather_>(env, exports, "pagedGather");
}

}  // namespace attn::binding
