#include "core/quantize_float8.h"

#include "binding/args.h"
#include "binding/export.h"
#include "binding/ops/ops.h"

namespace attn::binding {
namespace {

Napi::Value quantize_float8_(const Napi::CallbackInfo& info) {
  const Args args(info, 5);
  const std::optional<Tensor> codes = args.optional_tensor(3, "out.codes"), scales = args.optional_tensor(4, "out.scales");
  std::optional<QuantizedTensor> out;
  if (codes && scales) out = {*codes, *scales};
  const QuantizedTensor made = quantize_float8(args.tensor(0, "x"), args.integer(1, "groupSize"), args.host_ints(2, "indptr"), out);
  if (out) return args.env().Null();
  return handle_pair(args.env(), make_handle(args.env(), made.codes), make_handle(args.env(), made.scales));
}

}  // namespace

void export_quantize_float8(Napi::Env env, Napi::Object exports) { export_function<quantize_float8_>(env, exports, "quantizeFloat8"); }

}  // namespace attn::binding
