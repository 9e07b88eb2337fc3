#include "core/backend.h"

#include <mutex>

#include "core/error.h"

namespace attn {
namespace {

struct Slot {
  std::mutex mutex;
  std::function<Backend*(std::string& reason)> open;  // empty once it was asked
  std::atomic<Backend*> backend{nullptr};
  std::string reason;
};

Slot& slot(DeviceType type) {
  static Slot* slots = new Slot[2];  // leaked: backends outlive static destruction
  return slots[static_cast<int>(type)];
}

Backend* asked(DeviceType type) {
  Slot& s = slot(type);
  if (Backend* backend = s.backend) return backend;
  std::lock_guard lock(s.mutex);
  if (s.open) {
    s.backend = s.open(s.reason);
    s.open = nullptr;
  }
  return s.backend;
}

}  // namespace

Backend& backend_of(DeviceType type) {
  Backend* backend = asked(type);
  if (!backend) throw Error(ErrorCode::kDeviceUnavailable, std::string(device_name(type)) + " cannot be used: " + unavailable_reason(type));
  return *backend;
}

void provide_backend(Backend* backend) { slot(backend->type()).backend = backend; }

void provide_backend_when_asked(DeviceType type, std::function<Backend*(std::string& reason)> open) {
  Slot& s = slot(type);
  std::lock_guard lock(s.mutex);
  if (!s.backend) s.open = std::move(open);
}

Backend* opened_backend(DeviceType type) { return slot(type).backend; }

std::string unavailable_reason(DeviceType type) {
  if (asked(type)) return "";
  Slot& s = slot(type);
  std::lock_guard lock(s.mutex);
  return s.reason.empty() ? std::string("built without ") + (type == DeviceType::kCuda ? "CUDA" : "a CPU backend") : s.reason;
}

CancelFlag& current_cancel_flag() {
  static thread_local CancelFlag flag = std::make_shared<std::atomic<bool>>(false);
  return flag;
}

}  // namespace attn
