#include "cuda/images.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "cuda/device.h"

namespace attn::cuda {
namespace {

constexpr unsigned kSharedWithoutAsking = 48 * 1024;

struct Loaded {
  CUfunction function = nullptr;
  unsigned shared_bytes = kSharedWithoutAsking;
};
struct Modules {
  std::mutex mutex;
  std::map<std::string, CUmodule> modules;  // by op and family
  std::map<std::string, Loaded> kernels;    // by op, family and name
};

/// Those of the current device.
Modules& modules() {
  static std::mutex mutex;
  static auto* all = new std::map<int, Modules>;  // leaked: launches go on until the process ends
  std::lock_guard lock(mutex);
  return (*all)[current_device()];
}

CUmodule load(const char* op, const char* family) {
  for (const Image* image = kImages; image->op; ++image) {
    if (std::strcmp(image->op, op) != 0 || std::strcmp(image->family, family) != 0) continue;
    CUmodule module = nullptr;
    check(driver().cuModuleLoadData(&module, image->fatbin), (std::string("loading the kernels of ") + op + " for " + family).c_str());
    return module;
  }
  throw Error(ErrorCode::kInternal, std::string("no image holds the kernels of ") + op + " for " + family);
}

}  // namespace

CUfunction find_kernel(const char* op, const char* family, const char* kernel, unsigned shared_bytes) {
  Modules& all = modules();
  std::lock_guard lock(all.mutex);
  const std::string image = std::string(op) + "/" + family;
  Loaded& loaded = all.kernels[image + "/" + kernel];
  if (!loaded.function) {
    CUmodule& module = all.modules[image];
    if (!module) module = load(op, family);
    check(driver().cuModuleGetFunction(&loaded.function, module, kernel), (std::string("finding kernel ") + kernel).c_str());
  }
  if (shared_bytes > loaded.shared_bytes) {
    check(driver().cuFuncSetAttribute(loaded.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(shared_bytes)),
          (std::to_string(shared_bytes) + " bytes of shared memory for " + kernel).c_str());
    loaded.shared_bytes = shared_bytes;
  }
  return loaded.function;
}

}  // namespace attn::cuda
