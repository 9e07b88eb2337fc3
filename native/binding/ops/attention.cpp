#include "binding/attention_options.h"
#include "binding/export.h"
#include "binding/ops/ops.h"

namespace attn::binding {
namespace {

Napi::Value flash_attention_(const Napi::CallbackInfo& info) {
  const Args a(info, 6);
  return attention_result(
      a, 3,
      flash_attention(a.tensor(0, "q"), a.tensor(1, "k"), a.tensor(2, "v"), attention_options(a, 3), a.optional_tensor(4, "kvLens"), a.host_ints(5, "qoLens")));
}

Napi::Value flash_attention_varlen_(const Napi::CallbackInfo& info) {
  const Args a(info, 6);
  const HostInts qo_indptr = a.host_ints(4, "qoIndptr"), kv_indptr = a.host_ints(5, "kvIndptr");
  if (!qo_indptr || !kv_indptr) fail_argument(ErrorCode::kInvalidArgument, "qoIndptr", "an Int32Array", "null");
  return attention_result(a, 3, flash_attention_varlen(a.tensor(0, "q"), a.tensor(1, "k"), a.tensor(2, "v"), attention_options(a, 3), qo_indptr, kv_indptr));
}

Napi::Value paged_attention_(const Napi::CallbackInfo& info) {
  const Args a(info, 8);
  return attention_result(a, 6,
                          paged_attention(a.tensor(0, "q"), a.tensor(1, "keys"), a.tensor(2, "values"), a.tensor(3, "pageTable"), a.tensor(4, "kvLens"),
                                          a.integer(5, "maxKvLen"), attention_options(a, 6), a.host_ints(7, "qoLens")));
}

Napi::Value paged_attention_plan_(const Napi::CallbackInfo& info) {
  const Args a(info, 7);
  return plan_result(a.env(), paged_attention_plan(a.tensor(0, "keys"), a.tensor(1, "values"), a.tensor(2, "pageTable"), a.tensor(3, "kvLens"),
                                                   a.integer(4, "maxKvLen"), a.integer(5, "qoLen"), a.integer(6, "numQoHeads")));
}

}  // namespace

void export_attention(Napi::Env env, Napi::Object exports) {
  export_function<flash_attention_>(env, exports, "flashAttention");
  export_function<flash_attention_varlen_>(env, exports, "flashAttentionVarlen");
  export_function<paged_attention_>(env, exports, "pagedAttention");
  export_function<paged_attention_plan_>(env, exports, "pagedAttentionPlan");
}

}  // namespace attn::binding
