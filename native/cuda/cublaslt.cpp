#include "cuda/cublaslt.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "cuda/device.h"

namespace attn::cuda {
namespace {

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

const CublasLt* load() {
  const char* wish = std::getenv("NODE_FLASH_ATTENTION_CUBLASLT");
  if (wish && std::strcmp(wish, "off") == 0) return nullptr;
  void* library = nullptr;
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12"}) {
    if (!library) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  }
  if (!library) return nullptr;
  auto* found = new CublasLt;  // leaked: calls go on until the process ends
#define ATTN_FIND(name) find(library, #name, found->name)
  const bool whole = ATTN_FIND(cublasLtCreate) && ATTN_FIND(cublasLtMatmulDescCreate) && ATTN_FIND(cublasLtMatmulDescSetAttribute) &&
                     ATTN_FIND(cublasLtMatmulDescDestroy) && ATTN_FIND(cublasLtMatrixLayoutCreate) && ATTN_FIND(cublasLtMatrixLayoutSetAttribute) &&
                     ATTN_FIND(cublasLtMatrixLayoutDestroy) && ATTN_FIND(cublasLtMatmulPreferenceCreate) && ATTN_FIND(cublasLtMatmulPreferenceSetAttribute) &&
                     ATTN_FIND(cublasLtMatmulPreferenceDestroy) && ATTN_FIND(cublasLtMatmulAlgoGetHeuristic) && ATTN_FIND(cublasLtMatmul);
#undef ATTN_FIND
  if (whole) return found;
  delete found;
  return nullptr;
}

}  // namespace

const CublasLt* cublaslt() {
  static const CublasLt* library = load();
  return library;
}

blas::Object cublaslt_handle(std::string& reason) {
  struct Started {
    blas::Object handle = nullptr;
    blas::Status status = 0;
  };
  static std::mutex mutex;
  static auto* all = new std::map<int, Started>;  // by device; leaked as the library is
  std::lock_guard lock(mutex);
  const auto [entry, fresh] = all->try_emplace(current_device());
  Started& started = entry->second;
  if (fresh) started.status = cublaslt()->cublasLtCreate(&started.handle);
  if (started.status == 0) return started.handle;
  reason = "cuBLASLt does not start: cublasLtCreate gave status " + std::to_string(started.status);
  return nullptr;
}

}  // namespace attn::cuda
