#include "binding/tensor_handle.h"

#include <unordered_set>
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

/// Handles of this thread's environment that JavaScript can still reach. An External counts as a tensor when its pointer is
/// among them, whoever made it: a look-up here costs a tenth of writing and reading Node's type tags.
thread_local std::unordered_set<const void*> live_handles;

Handle& handle_of(const char* argument, const Napi::Value& value) {
  void* data = nullptr;
  if (!value.IsExternal() || napi_get_value_external(value.Env(), value, &data) != napi_ok || !live_handles.count(data)) {
    fail_argument(ErrorCode::kInvalidArgument, argument, "a tensor", "a foreign value");
  }
  return *static_cast<Handle*>(data);
}

}  // namespace

Napi::Value make_handle(Napi::Env env, Tensor tensor, std::int64_t owned_bytes) {
  auto* handle = new Handle{std::move(tensor), owned_bytes};
  live_handles.insert(handle);
  auto external = Napi::External<Handle>::New(env, handle, [](Napi::Env env, Handle* handle) {
    live_handles.erase(handle);
    handle->let_go(env);
    delete handle;
  });
  if (owned_bytes) Napi::MemoryManagement::AdjustExternalMemory(env, owned_bytes);
  return external;
}

Napi::Value handle_pair(Napi::Env env, Napi::Value first, Napi::Value second) {
  Napi::Array pair = Napi::Array::New(env, 2);
  pair.Set(0u, first);
  pair.Set(1u, second);
  return pair;
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
