#include "cuda/driver.h"

#include <dlfcn.h>

namespace attn::cuda {
namespace {

Driver functions;

/// Kernels carry machine code and PTX of the toolkit that compiled them; drivers of its major version and newer take both.
constexpr int kOldestDriver = CUDA_VERSION / 1000 * 1000;

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

std::string load() {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return std::string("no CUDA driver: ") + dlerror();
#define ATTN_DRIVER(name, symbol)                                                      \
  functions.name = reinterpret_cast<decltype(functions.name)>(dlsym(library, symbol)); \
  if (!functions.name) return "the CUDA driver has no " symbol ": CUDA " + version_text(kOldestDriver) + " or newer is needed";
#include "cuda/driver_functions.def"
#undef ATTN_DRIVER
  int version = 0;
  if (functions.cuDriverGetVersion(&version) == CUDA_SUCCESS && version < kOldestDriver) {
    return "the CUDA driver is too old: it is for CUDA " + version_text(version) + ", these kernels need " + version_text(kOldestDriver) + " or newer";
  }
  const CUresult result = functions.cuInit(0);
  if (result == CUDA_ERROR_NO_DEVICE) return "there is no CUDA device";
  if (result != CUDA_SUCCESS) return "the CUDA driver does not start: " + result_name(result);
  int count = 0;
  const CUresult counted = functions.cuDeviceGetCount(&count);
  if (counted != CUDA_SUCCESS) return "the CUDA driver does not start: " + result_name(counted);
  return count > 0 ? "" : "there is no CUDA device";
}

}  // namespace

const std::string& open_driver() {
  static const std::string* reason = new std::string(load());  // leaked: asked for until the process ends
  return *reason;
}

const Driver& driver() { return functions; }

std::string result_name(CUresult result) {
  const char* name = nullptr;
  if (!functions.cuGetErrorName || functions.cuGetErrorName(result, &name) != CUDA_SUCCESS || !name) return "CUDA error " + std::to_string(result);
  return name;
}

bool is_sticky(CUresult result) {
  switch (result) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_UNKNOWN: return true;
    default: return false;
  }
}

}  // namespace attn::cuda
