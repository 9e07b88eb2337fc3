#include "binding/errors.h"

namespace attn::binding {

Napi::Error to_js_error(Napi::Env env, const Error& error) {
  Napi::Error js = Napi::Error::New(env, error.message);
  Napi::Object object = js.Value();
  object.Set("attn", error_code_name(error.code));
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kShapeMismatch:
    case ErrorCode::kDisposed:
      object.Set("argument", error.argument);
      object.Set("expected", error.expected);
      object.Set("received", error.received);
      break;
    case ErrorCode::kUnsupported: {
      Napi::Array rejected = Napi::Array::New(env, error.rejected.size());
      for (std::uint32_t i = 0; i < error.rejected.size(); ++i) {
        Napi::Object row = Napi::Object::New(env);
        row.Set("kernel", error.rejected[i].kernel);
        row.Set("reason", error.rejected[i].reason);
        rejected.Set(i, row);
      }
      object.Set("rejected", rejected);
      break;
    }
    case ErrorCode::kOutOfMemory:
      object.Set("requested", error.requested);
      object.Set("available", error.available);
      break;
    case ErrorCode::kDeviceUnavailable:
    case ErrorCode::kCuda:
    case ErrorCode::kInternal: break;
  }
  return js;
}

}  // namespace attn::binding
