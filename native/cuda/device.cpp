#include "cuda/device.h"

#include <mutex>

namespace attn::cuda {
namespace {

struct Device {
  DeviceFacts facts;
  CUcontext context = nullptr;
  CUstream stream = nullptr;
  CUmemoryPool pool = nullptr;
  std::mutex mutex;
  std::string lost;
};

Device& device() {
  static Device* device = new Device;  // leaked: its stream works until the process ends
  return *device;
}

int attribute(CUdevice handle, CUdevice_attribute which) {
  int value = 0;
  driver().cuDeviceGetAttribute(&value, which, handle);
  return value;
}

std::string open() {
  if (!open_driver().empty()) return open_driver();
  Device& d = device();
  const auto failed = [](CUresult result, const char* what) { return std::string(what) + " failed: " + result_name(result); };
  CUdevice handle = 0;
  if (CUresult result = driver().cuDeviceGet(&handle, 0)) return failed(result, "cuDeviceGet");
  char name[256] = "";
  driver().cuDeviceGetName(name, sizeof name, handle);
  d.facts.name = name;
  d.facts.capability = 10 * attribute(handle, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) + attribute(handle, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  d.facts.num_sms = attribute(handle, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  d.facts.max_shared_per_block = attribute(handle, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  if (d.facts.capability < 80) {
    return d.facts.name + " has compute capability " + std::to_string(d.facts.capability / 10) + "." + std::to_string(d.facts.capability % 10) +
           ", these kernels need 8.0 (Ampere) or newer";
  }
  if (!attribute(handle, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)) return d.facts.name + " has no stream-ordered memory";
  if (CUresult result = driver().cuDevicePrimaryCtxRetain(&d.context, handle)) return failed(result, "cuDevicePrimaryCtxRetain");
  if (CUresult result = driver().cuCtxSetCurrent(d.context)) return failed(result, "cuCtxSetCurrent");
  if (CUresult result = driver().cuStreamCreate(&d.stream, CU_STREAM_NON_BLOCKING)) return failed(result, "cuStreamCreate");
  if (CUresult result = driver().cuDeviceGetDefaultMemPool(&d.pool, handle)) return failed(result, "cuDeviceGetDefaultMemPool");
  // Freed memory stays with the pool: a decode step allocates its outputs without asking the system.
  cuuint64_t keep = ~cuuint64_t{0};
  if (CUresult result = driver().cuMemPoolSetAttribute(d.pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep)) return failed(result, "cuMemPoolSetAttribute");
  return "";
}

}  // namespace

const std::string& open_device() {
  static const std::string* reason = new std::string(open());  // leaked: asked for until the process ends
  return *reason;
}

const DeviceFacts& device_facts() { return device().facts; }
CUstream stream() { return device().stream; }
CUmemoryPool memory_pool() { return device().pool; }

std::string lost_reason() {
  std::lock_guard lock(device().mutex);
  return device().lost;
}

void check(CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  const std::string text = std::string(what) + " failed: " + result_name(result);
  if (is_sticky(result)) {
    std::lock_guard lock(device().mutex);
    if (device().lost.empty()) device().lost = text;
  }
  throw Error(ErrorCode::kCuda, "cuda:0: " + text);
}

void enter_device() {
  if (std::string lost = lost_reason(); !lost.empty()) throw Error(ErrorCode::kCuda, "cuda:0 is lost until this process ends: " + lost);
  static thread_local bool entered = false;
  if (entered) return;
  check(driver().cuCtxSetCurrent(device().context), "cuCtxSetCurrent");
  entered = true;
}

}  // namespace attn::cuda
