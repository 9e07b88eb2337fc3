#include "cuda/device.h"

#include <mutex>

namespace attn::cuda {
namespace {

constexpr int kMaxGpus = 64;

struct Gpu {
  DeviceFacts facts;
  CUcontext context = nullptr;
  CUstream stream = nullptr;
  CUmemoryPool pool = nullptr;
  std::mutex mutex;
  std::string lost;
};

Gpu& gpu(int index) {
  static Gpu* gpus = new Gpu[kMaxGpus];  // leaked: their streams work until the process ends
  return gpus[index];
}

thread_local int current = -1;

std::string id_of(int index) { return "cuda:" + std::to_string(index); }

int attribute(CUdevice handle, CUdevice_attribute which) {
  int value = 0;
  driver().cuDeviceGetAttribute(&value, which, handle);
  return value;
}

}  // namespace

int count_gpus() {
  int count = 0;
  if (!open_driver().empty() || driver().cuDeviceGetCount(&count) != CUDA_SUCCESS) return 0;
  return count < kMaxGpus ? count : kMaxGpus;
}

int capability_of(int index) {
  CUdevice handle = 0;
  if (driver().cuDeviceGet(&handle, index) != CUDA_SUCCESS) return 0;
  return 10 * attribute(handle, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) + attribute(handle, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
}

Refusal open_device(int index) {
  if (!open_driver().empty()) return {open_driver()};
  const int count = count_gpus();
  if (index >= count)
    return {"there " + (count == 1 ? std::string("is one CUDA device") : "are " + std::to_string(count) + " CUDA devices") + ", numbered from 0"};
  Gpu& d = gpu(index);
  const auto failed = [](CUresult result, const char* what) { return Refusal{std::string(what) + " failed: " + result_name(result)}; };
  CUdevice handle = 0;
  if (CUresult result = driver().cuDeviceGet(&handle, index)) return failed(result, "cuDeviceGet");
  char name[256] = "";
  driver().cuDeviceGetName(name, sizeof name, handle);
  d.facts.name = name;
  d.facts.index = index;
  d.facts.capability = capability_of(index);
  d.facts.num_sms = attribute(handle, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  d.facts.max_shared_per_block = attribute(handle, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  if (d.facts.capability < 80) {
    return {d.facts.name + " has compute capability " + std::to_string(d.facts.capability / 10) + "." + std::to_string(d.facts.capability % 10) +
                ", these kernels need 8.0 (Ampere) or newer",
            ErrorCode::kUnsupported};
  }
  if (!attribute(handle, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)) return {d.facts.name + " has no stream-ordered memory", ErrorCode::kUnsupported};
  if (CUresult result = driver().cuDevicePrimaryCtxRetain(&d.context, handle)) return failed(result, "cuDevicePrimaryCtxRetain");
  if (CUresult result = driver().cuCtxSetCurrent(d.context)) return failed(result, "cuCtxSetCurrent");
  current = index;
  if (CUresult result = driver().cuStreamCreate(&d.stream, CU_STREAM_NON_BLOCKING)) return failed(result, "cuStreamCreate");
  if (CUresult result = driver().cuDeviceGetDefaultMemPool(&d.pool, handle)) return failed(result, "cuDeviceGetDefaultMemPool");
  // Freed memory stays with the pool: a decode step allocates its outputs without asking the system.
  cuuint64_t keep = ~cuuint64_t{0};
  if (CUresult result = driver().cuMemPoolSetAttribute(d.pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep)) return failed(result, "cuMemPoolSetAttribute");
  return {};
}

int current_device() { return current; }
const DeviceFacts& device_facts() { return gpu(current).facts; }
CUstream stream() { return gpu(current).stream; }
CUmemoryPool memory_pool() { return gpu(current).pool; }

std::string lost_reason(int index) {
  std::lock_guard lock(gpu(index).mutex);
  return gpu(index).lost;
}

void check(CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  const std::string text = std::string(what) + " failed: " + result_name(result);
  if (is_sticky(result)) {
    std::lock_guard lock(gpu(current).mutex);
    if (gpu(current).lost.empty()) gpu(current).lost = text;
  }
  throw Error(ErrorCode::kCuda, id_of(current) + ": " + text);
}

void enter_device(int index) {
  if (std::string lost = lost_reason(index); !lost.empty()) throw Error(ErrorCode::kCuda, id_of(index) + " is lost until this process ends: " + lost);
  if (current == index) return;
  const int before = current;
  current = index;
  if (const CUresult result = driver().cuCtxSetCurrent(gpu(index).context)) {
    current = before;
    throw Error(ErrorCode::kCuda, id_of(index) + ": cuCtxSetCurrent failed: " + result_name(result));
  }
}

}  // namespace attn::cuda
