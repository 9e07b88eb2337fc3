// Modules and kernels.
#include <cctype>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "environment.h"
#include "fatbin.h"
#include "state.h"

using namespace vgpu::driver;

namespace {

/// The registers of a statement, in order.
std::vector<std::string> registers_of(const std::string& statement) {
  std::vector<std::string> registers;
  for (auto at = statement.find('%'); at != std::string::npos; at = statement.find('%', at + 1)) {
    auto end = at + 1;
    while (end < statement.size() && std::isalnum(static_cast<unsigned char>(statement[end]))) end++;
    registers.push_back(statement.substr(at, end - at));
  }
  return registers;
}

/// VGPU_REPLACE: "kernel|n|text|replacement" puts the replacement in the place of the n-th statement of the kernel that begins with the
/// text (n = -1: of all), $1 … $9 in it being the statement's registers. So tests break the package's own kernels.
void replace_statements(std::string& ptx) {
  const std::string& edit = environment().replace;
  if (edit.empty()) {
    return;
  }
  std::stringstream fields(edit);
  std::string kernel, number, text, replacement;
  std::getline(std::getline(std::getline(fields, kernel, '|'), number, '|'), text, '|');
  std::getline(fields, replacement);
  const auto begin = ptx.find(".entry " + kernel + "(");
  if (begin == std::string::npos) {
    return;
  }
  const int wanted = std::stoi(number);
  int seen = 0;
  for (auto at = ptx.find(text, begin); at != std::string::npos && at < ptx.find(".entry ", begin + 1); at = ptx.find(text, at + 1)) {
    if (wanted < 0 || seen++ == wanted) {
      const auto length = ptx.find(';', at) + 1 - at;
      std::string put = replacement + ";";
      const std::vector<std::string> registers = registers_of(ptx.substr(at, length));
      for (std::size_t n = 0; n < registers.size() && n < 9; n++) {
        const std::string name = "$" + std::to_string(n + 1);
        for (auto found = put.find(name); found != std::string::npos; found = put.find(name)) put.replace(found, name.size(), registers[n]);
      }
      ptx.replace(at, length, put);
      at += put.size() - 1;
    }
  }
}

CUresult load(Device& device, CUmodule* handle, const void* image) {
  std::string ptx;
  switch (find_ptx(image, environment().capability, ptx)) {
    case ImageError::kInvalidImage: return CUDA_ERROR_INVALID_IMAGE;
    case ImageError::kNoBinary: return CUDA_ERROR_NO_BINARY_FOR_GPU;
    case ImageError::kInvalidPtx: return CUDA_ERROR_INVALID_PTX;
    case ImageError::kNone: break;
  }
  replace_statements(ptx);
  auto module = std::make_unique<Module>();
  module->device = &device;
  try {
    module->program = vgpu::parse(ptx);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "vgpu: %s\n", error.what());
    return CUDA_ERROR_INVALID_PTX;
  }
  for (auto& [name, variable] : module->program->globals) {
    variable.address = device.memory.allocate(variable.bytes);
    std::vector<unsigned char> contents = variable.contents;
    contents.resize(variable.bytes);  // without an initialiser: zeros
    device.memory.write(variable.address, contents.data(), contents.size());
    module->globals[name] = {variable.address, variable.bytes};
  }
  for (auto& [name, function] : module->program->functions) {
    for (vgpu::Slot& slot : function->slots) {
      if (slot.kind == vgpu::SlotKind::kGlobalVariable) {
        slot.value = module->program->globals.at(slot.name).address;
      }
    }
    auto kernel = std::make_unique<Kernel>();
    kernel->module = module.get();
    kernel->function = function.get();
    module->kernels[name] = std::move(kernel);
  }
  *handle = reinterpret_cast<CUmodule>(module.get());
  state().modules.insert(module.release());
  return CUDA_SUCCESS;
}

Module* module_of(CUmodule handle) {
  auto found = state().modules.find(reinterpret_cast<Module*>(handle));
  return found == state().modules.end() ? nullptr : *found;
}

}  // namespace

VGPU_EXPORT cuModuleLoadData(CUmodule* handle, const void* image) {
  return in_context([&](Device& device, Lock&) { return load(device, handle, image); });
}

VGPU_EXPORT cuModuleLoadDataEx(CUmodule* handle, const void* image, unsigned, CUjit_option*, void**) { return cuModuleLoadData(handle, image); }

VGPU_EXPORT cuModuleUnload(CUmodule handle) {
  return guarded([&](Lock& lock) {
    Module* module = module_of(handle);
    if (module == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    drain_all(*module->device, lock);
    for (const auto& [name, global] : module->globals) {
      module->device->memory.free(global.first);
    }
    state().modules.erase(module);
    delete module;
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuModuleGetFunction(CUfunction* handle, CUmodule module_handle, const char* name) {
  return in_context([&](Device&, Lock&) {
    Module* module = module_of(module_handle);
    if (module == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    auto found = module->kernels.find(name);
    if (found == module->kernels.end()) {
      return CUDA_ERROR_NOT_FOUND;
    }
    *handle = reinterpret_cast<CUfunction>(found->second.get());
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuModuleGetGlobal_v2(CUdeviceptr* address, std::size_t* bytes, CUmodule module_handle, const char* name) {
  return in_context([&](Device&, Lock&) {
    Module* module = module_of(module_handle);
    if (module == nullptr || module->globals.count(name) == 0) {
      return module == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_NOT_FOUND;
    }
    *address = module->globals[name].first;
    *bytes = module->globals[name].second;
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction handle) {
  return in_context([&](Device&, Lock&) {
    const auto* kernel = reinterpret_cast<const Kernel*>(handle);
    switch (attribute) {
      case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = static_cast<int>(kernel->function->max_threads); break;
      case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = static_cast<int>(kernel->function->static_shared); break;
      case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: *value = static_cast<int>(kernel->function->local_bytes); break;
      case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = static_cast<int>(kernel->max_dynamic_shared); break;
      case CU_FUNC_ATTRIBUTE_PTX_VERSION: *value = 80; break;
      case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *value = environment().capability; break;
      default: return CUDA_ERROR_INVALID_VALUE;  // registers: only ptxas knows them
    }
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
  return in_context([&](Device&, Lock&) {
    auto* kernel = reinterpret_cast<Kernel*>(handle);
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
      return attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    }
    if (value < 0 || static_cast<unsigned>(value) + kernel->function->static_shared > environment().max_shared_bytes) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    kernel->max_dynamic_shared = static_cast<unsigned>(value);
    return CUDA_SUCCESS;
  });
}

// By threads and shared memory; nobody here knows a kernel's registers.
VGPU_EXPORT cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction handle, int threads, std::size_t dynamic_shared) {
  return in_context([&](Device&, Lock&) {
    const auto* kernel = reinterpret_cast<const Kernel*>(handle);
    if (threads <= 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const std::size_t shared = kernel->function->static_shared + dynamic_shared + 1024;
    *blocks = static_cast<int>(std::min<std::size_t>({2048u / static_cast<unsigned>(threads), environment().shared_per_sm() / shared, 32}));
    return CUDA_SUCCESS;
  });
}
