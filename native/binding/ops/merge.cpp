#include "core/merge.h"

#include "binding/args.h"
#include "binding/export.h"
#include "binding/ops/ops.h"

namespace attn::binding {
namespace {

std::vector<Tensor> tensors(const Args& args, std::size_t i, const char* name) {
  if (!args.value(i).IsArray()) fail_argument(ErrorCode::kInvalidArgument, name, "an array of tensors", "another value");
  const Napi::Array array = args.value(i).As<Napi::Array>();
  std::vector<Tensor> out;
  out.reserve(array.Length());
  for (std::uint32_t k = 0; k < array.Length(); ++k) out.push_back(unwrap_handle(name, array.Get(k)));
  return out;
}

Napi::Value merge_states_(const Napi::CallbackInfo& info) {
  const Args args(info, 2);
  const MergedState merged = merge_states(tensors(args, 0, "states"), tensors(args, 1, "states"));
  return handle_pair(args.env(), make_handle(args.env(), merged.out), make_handle(args.env(), merged.lse));
}

}  // namespace

void export_merge(Napi::Env env, Napi::Object exports) { export_function<merge_states_>(env, exports, "mergeStates"); }

}  // namespace attn::binding
