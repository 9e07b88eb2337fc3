#include "binding/tensor_handle.h"

#include <utility>

#include "core/check.h"

namespace attn::binding {
namespace {

struct Handle {
  std::optional<Tensor> tensor;
  std::int64_t owned_bytes;

  void let_go(Napi::Env env) {
    if (!tensor) return;
    tensor.reset();
    if (owned_bytes) Napi::MemoryManagement::AdjustExternalMemory(env, -owned_bytes);
  }
};

constexpr napi_type_tag kTag = {0x6e6f64652d666c61, 0x73682d6174746e31};

Handle& handle_of(const char* argument, const Napi::Value& value) {
  bool ours = false;
  if (value.IsExternal()) napi_check_object_type_tag(value.Env(), value, &kTag, &ours);
  if (!ours) fail_argument(ErrorCode::kInvalidArgument, argument, "a tensor", "a foreign value");
  return *value.As<Napi::External<Handle>>().Data();
}

}  // namespace

Napi::Value make_handle(Napi::Env env, Tensor tensor, std::int64_t owned_bytes) {
  auto external = Napi::External<Handle>::New(env, new Handle{std::move(tensor), owned_bytes}, [](Napi::Env env, Handle* handle) {
    handle->let_go(env);
    delete handle;
  });
  if (owned_bytes) Napi::MemoryManagement::AdjustExternalMemory(env, owned_bytes);
  if (napi_type_tag_object(env, external, &kTag) != napi_ok) throw Napi::Error::New(env, "napi_type_tag_object failed");
  return external;
}

const Tensor& unwrap_handle(const char* argument, const Napi::Value& value) {
  Handle& handle = handle_of(argument, value);
  if (!handle.tensor) fail_argument(ErrorCode::kDisposed, argument, "a live tensor", "a disposed tensor");
  return *handle.tensor;
}

std::optional<Tensor> unwrap_optional_handle(const char* argument, const Napi::Value& value) {
  if (value.IsNull() || value.IsUndefined()) return std::nullopt;
  return unwrap_handle(argument, value);
}

void dispose_handle(const char* argument, const Napi::Value& value) { handle_of(argument, value).let_go(value.Env()); }

}  // namespace attn::binding
