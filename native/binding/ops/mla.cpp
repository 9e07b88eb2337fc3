#include "binding/attention_options.h"
#include "binding/export.h"
#include "binding/ops/ops.h"

namespace attn::binding {
namespace {

Napi::Value mla_decode_(const Napi::CallbackInfo& info) {
  const Args a(info, 10 + kAttentionOptions);
  std::optional<PlannedSchedule> schedule;
  if (auto words = a.optional_tensor(7, "schedule")) schedule = {*words, a.integer(8, "parts"), a.integer(9, "pieces")};
  return attention_result(a, 10,
                          mla_decode(a.tensor(0, "qNope"), a.tensor(1, "qPe"), a.tensor(2, "latents"), a.tensor(3, "pageTable"), a.tensor(4, "kvLens"),
                                     a.integer(5, "maxKvLen"), attention_options(a, 10), a.host_ints(6, "qoLens"), schedule));
}

Napi::Value mla_decode_plan_(const Napi::CallbackInfo& info) {
  const Args a(info, 8);
  return plan_result(a.env(), mla_decode_plan(a.tensor(0, "latents"), a.tensor(1, "pageTable"), a.tensor(2, "kvLens"), a.integer(3, "maxKvLen"),
                                              a.integer(4, "qoLen"), a.integer(5, "numHeads"), a.integer(6, "kvLoraRank"), a.required_ints(7, "lens")));
}

Napi::Value mla_prefill_(const Napi::CallbackInfo& info) {
  const Args a(info, 7 + kAttentionOptions);
  return attention_result(a, 7,
                          mla_prefill(a.tensor(0, "qNope"), a.tensor(1, "qPe"), a.tensor(2, "kNope"), a.tensor(3, "kPe"), a.tensor(4, "v"),
                                      attention_options(a, 7), a.optional_tensor(5, "kvLens"), a.host_ints(6, "qoLens")));
}

}  // namespace

void export_mla(Napi::Env env, Napi::Object exports) {
  export_function<mla_decode_>(env, exports, "mlaDecode");
  export_function<mla_decode_plan_>(env, exports, "mlaDecodePlan");
  export_function<mla_prefill_>(env, exports, "mlaPrefill");
}

}  // namespace attn::binding
