#include "core/paged_kv.h"

#include "binding/args.h"
#include "binding/export.h"
#include "binding/ops/ops.h"

namespace attn::binding {
namespace {

HostInts required(const Args& args, std::size_t i, const char* name) {
  HostInts ints = args.host_ints(i, name);
  if (!ints) fail_argument(ErrorCode::kInvalidArgument, name, "an Int32Array", "null");
  return ints;
}

Napi::Value paged_append_(const Napi::CallbackInfo& info) {
  const Args args(info, 3);
  paged_append(args.tensor(0, "src"), args.tensor(1, "pages"), required(args, 2, "slots"));
  return args.env().Undefined();
}

Napi::Value page_copy_(const Napi::CallbackInfo& info) {
  const Args args(info, 2);
  page_copy(args.tensor(0, "pages"), required(args, 1, "pairs"));
  return args.env().Undefined();
}

Napi::Value paged_gather_(const Napi::CallbackInfo& info) {
  const Args args(info, 4);
  return make_handle(args.env(), paged_gather(args.tensor(0, "pages"), required(args, 1, "pageList"), args.integer(2, "begin"), args.integer(3, "end")));
}

}  // namespace

void export_paged_kv(Napi::Env env, Napi::Object exports) {
  export_function<paged_append_>(env, exports, "pagedAppend");
  export_function<page_copy_>(env, exports, "pageCopy");
  export_function<paged_gather_>(env, exports, "pagedGather");
}

}  // namespace attn::binding
