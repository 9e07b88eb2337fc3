#include "core/probe.h"

#include "binding/args.h"
#include "binding/export.h"
#include "binding/js_thread.h"
#include "binding/ops/ops.h"

namespace attn::binding {
namespace {

ProbeKind kind_named(const std::string& name) {
  if (name == "multiplyAdd") return ProbeKind::kMultiplyAdd;
  if (name == "bf16Dot") return ProbeKind::kBf16Dot;
  if (name == "bf16Tile") return ProbeKind::kBf16Tile;
  if (name == "read") return ProbeKind::kRead;
  fail_argument(ErrorCode::kInvalidArgument, "kind", "'multiplyAdd', 'bf16Dot', 'bf16Tile' or 'read'", "'" + name + "'");
}

Napi::Value probe_(const Napi::CallbackInfo& info) {
  const Args args(info, 5);
  Backend& backend = backend_named(args.text(0, "device"));
  const std::optional<Tensor> buffer = args.optional_tensor(4, "buffer");
  const std::shared_ptr<const ProbeResult> result =
      probe(backend, kind_named(args.text(1, "kind")), static_cast<int>(args.integer(2, "threads")), args.integer(3, "rounds"), buffer ? &*buffer : nullptr);
  return promise_after_queue(args.env(), backend, args.env().Undefined(), true, [result](Napi::Env env, const std::string& failure) -> Napi::Value {
    Napi::Object row = Napi::Object::New(env);
    row.Set("seconds", result->seconds);
    row.Set("work", result->work);
    row.Set("checksum", result->checksum);
    row.Set("failure", failure);
    return row;
  });
}

}  // namespace

void export_probe(Napi::Env env, Napi::Object exports) { export_function<probe_>(env, exports, "probe"); }

}  // namespace attn::binding
