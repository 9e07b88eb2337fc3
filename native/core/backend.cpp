#include "core/backend.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "core/error.h"

namespace attn {
namespace {

constexpr int kMaxDevices = 64;

struct Slot {
  std::mutex mutex;
  bool asked = false;
  std::atomic<Backend*> backend{nullptr};
  Refusal refusal;
};

struct Type {
  Slot slots[kMaxDevices];
  DeviceOpener opener;  // empty for the CPU, and where the build has no such devices
};

Type& type_of(DeviceType type) {
  static Type* types = new Type[2];  // leaked: backends outlive static destruction
  return types[static_cast<int>(type)];
}

Backend* asked(Device device) {
  if (device.index >= kMaxDevices) return nullptr;
  Type& type = type_of(device.type);
  Slot& s = type.slots[device.index];
  if (Backend* backend = s.backend) return backend;
  std::lock_guard lock(s.mutex);
  if (type.opener.open && !s.asked) {
    s.asked = true;
    s.backend = type.opener.open(device.index, s.refusal);
  }
  return s.backend;
}

}  // namespace

Backend& backend_of(Device device) {
  Backend* backend = asked(device);
  if (!backend) throw Error(unavailable_code(device), device_id(device) + " cannot be used: " + unavailable_reason(device));
  return *backend;
}

void provide_backend(Backend* backend) { type_of(backend->type()).slots[backend->index()].backend = backend; }

void provide_backends_when_asked(DeviceType type, DeviceOpener opener) {
  Type& t = type_of(type);
  if (!t.opener.open) t.opener = std::move(opener);
}

std::vector<Backend*> opened_backends() {
  std::vector<Backend*> opened;
  for (DeviceType type : {DeviceType::kCpu, DeviceType::kCuda}) {
    for (Slot& slot : type_of(type).slots) {
      if (Backend* backend = slot.backend) opened.push_back(backend);
    }
  }
  return opened;
}

int count_devices(DeviceType type) {
  const Type& t = type_of(type);
  if (!t.opener.count) return t.slots[0].backend ? 1 : 0;
  return std::min(t.opener.count(), kMaxDevices);
}

std::string unavailable_reason(Device device) {
  if (asked(device)) return "";
  if (device.index >= kMaxDevices) return "devices are numbered 0 to " + std::to_string(kMaxDevices - 1);
  Slot& s = type_of(device.type).slots[device.index];
  std::lock_guard lock(s.mutex);
  return s.refusal.reason.empty() ? std::string("built without ") + (device.type == DeviceType::kCuda ? "CUDA" : "a CPU backend") : s.refusal.reason;
}

ErrorCode unavailable_code(Device device) {
  if (asked(device) || device.index >= kMaxDevices) return ErrorCode::kDeviceUnavailable;
  Slot& s = type_of(device.type).slots[device.index];
  std::lock_guard lock(s.mutex);
  return s.refusal.code;
}

std::int32_t*& current_put_off() {
  static thread_local std::int32_t* put_off = nullptr;
  return put_off;
}

CancelFlag& current_cancel_flag() {
  static thread_local CancelFlag flag = std::make_shared<std::atomic<bool>>(false);
  return flag;
}

}  // namespace attn
