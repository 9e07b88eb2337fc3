#include "core/backend.h"

#include "core/error.h"

namespace attn {
namespace {
Backend* g_backends[2] = {nullptr, nullptr};
}

Backend& backend_of(DeviceType type) {
  Backend* backend = g_backends[static_cast<int>(type)];
  if (!backend) throw Error(ErrorCode::kDeviceUnavailable, std::string(device_name(type)) + " cannot be used: " + unavailable_reason(type));
  return *backend;
}

void provide_backend(Backend* backend) { g_backends[static_cast<int>(backend->type())] = backend; }

std::string unavailable_reason(DeviceType type) {
  if (g_backends[static_cast<int>(type)]) return "";
  return std::string("built without ") + (type == DeviceType::kCuda ? "CUDA" : "a CPU backend");
}

CancelFlag& current_cancel_flag() {
  static thread_local CancelFlag flag = std::make_shared<std::atomic<bool>>(false);
  return flag;
}

}  // namespace attn
