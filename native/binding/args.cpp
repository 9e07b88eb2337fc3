#include "binding/args.h"

#include <charconv>

namespace attn::binding {

HostBits host_bits(const char* name, const Napi::Value& value) {
  if (!value.IsTypedArray()) fail_argument(ErrorCode::kInvalidArgument, name, "a typed array", "another value");
  napi_typedarray_type type;
  std::size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) != napi_ok) {
    fail_argument(ErrorCode::kInvalidArgument, name, "a typed array", "one that cannot be read");
  }
  return {static_cast<std::byte*>(data), static_cast<std::int64_t>(value.As<Napi::TypedArray>().ByteLength())};
}

Device device_named(const std::string& id) {
  if (id == "cpu") return DeviceType::kCpu;
  if (id == "cuda") return DeviceType::kCuda;
  int index = -1;
  const char* end = id.data() + id.size();
  if (id.starts_with("cuda:") && std::from_chars(id.data() + 5, end, index).ptr == end && index >= 0 && index < 256) return {DeviceType::kCuda, index};
  fail_argument(ErrorCode::kInvalidArgument, "device", "'cpu', 'cuda' or 'cuda:<n>'", id);
}

Backend& backend_named(const std::string& id) { return backend_of(device_named(id)); }

DType dtype_numbered(std::int64_t code) {
  if (code < 0 || code >= kNumDTypes) fail_argument(ErrorCode::kInvalidArgument, "dtype", "a dtype of this build", std::to_string(code));
  return static_cast<DType>(code);
}

}  // namespace attn::binding
