#include "binding/attention_options.h"
#include "binding/export.h"
#include "binding/ops/ops.h"

namespace attn::binding {
namespace {

Napi::Value flash_attention_(const Napi::CallbackInfo& info) {
  const Args a(info, 5 + kAttentionOptions);
  return attention_result(
      a, 5,
      flash_attention(a.tensor(0, "q"), a.tensor(1, "k"), a.tensor(2, "v"), attention_options(a, 5), a.optional_tensor(3, "kvLens"), a.host_ints(4, "qoLens")));
}

Napi::Value flash_attention_varlen_(const Napi::CallbackInfo& info) {
  const Args a(info, 5 + kAttentionOptions);
  const HostInts qo_indptr = a.host_ints(3, "qoIndptr"), kv_indptr = a.host_ints(4, "kvIndptr");
  if (!qo_indptr || !kv_indptr) fail_argument(ErrorCode::kInvalidArgument, "qoIndptr", "an Int32Array", "null");
  return attention_result(a, 5, flash_attention_varlen(a.tensor(0, "q"), a.tensor(1, "k"), a.tensor(2, "v"), attention_options(a, 5), qo_indptr, kv_indptr));
}

Napi::Value paged_attention_(const Napi::CallbackInfo& info) {
  const Args a(info, 7 + kAttentionOptions);
  return attention_result(a, 7,
                          paged_attention(a.tensor(0, "q"), a.tensor(1, "keys"), a.tensor(2, "values"), a.tensor(3, "pageTable"), a.tensor(4, "kvLens"),
                                          a.integer(5, "maxKvLen"), attention_options(a, 7), a.host_ints(6, "qoLens")));
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
