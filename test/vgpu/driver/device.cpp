// Devices, primary contexts, versions and attributes.
#include <cstdio>
#include <cstring>

#include "environment.h"
#include "state.h"

using namespace vgpu::driver;

namespace {

constexpr int kNumRegisters = 65536;

CUresult device_at(CUdevice device, Device*& found) {
  State& s = state();
  if (device < 0 || static_cast<std::size_t>(device) >= s.devices.size()) {
    return CUDA_ERROR_INVALID_DEVICE;
  }
  found = s.devices[static_cast<std::size_t>(device)].get();
  return CUDA_SUCCESS;
}

CUcontext context_of(Device* device) { return reinterpret_cast<CUcontext>(device); }

}  // namespace

VGPU_EXPORT cuInit(unsigned flags) {
  if (flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Lock lock(state().mutex);
  try {
    const Environment& env = environment();
    if (env.num_devices == 0) {
      return CUDA_ERROR_NO_DEVICE;
    }
    State& s = state();
    while (s.devices.size() < static_cast<std::size_t>(env.num_devices)) {
      auto device = std::make_unique<Device>();
      device->index = static_cast<int>(s.devices.size());
      device->memory = vgpu::GlobalMemory(device->index);
      device->null_stream = std::make_shared<Stream>(*device);
      device->streams.insert(device->null_stream);
      s.devices.push_back(std::move(device));
    }
    s.initialised = true;
    return CUDA_SUCCESS;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "vgpu: %s\n", error.what());
    return CUDA_ERROR_UNKNOWN;
  }
}

VGPU_EXPORT cuDriverGetVersion(int* version) {
  try {
    *version = environment().driver_version;
    return CUDA_SUCCESS;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "vgpu: %s\n", error.what());
    return CUDA_ERROR_UNKNOWN;
  }
}

VGPU_EXPORT cuDeviceGetCount(int* count) {
  return guarded([&](Lock&) {
    *count = static_cast<int>(state().devices.size());
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuDeviceGet(CUdevice* device, int ordinal) {
  return guarded([&](Lock&) {
    Device* found = nullptr;
    *device = ordinal;
    return device_at(ordinal, found);
  });
}

VGPU_EXPORT cuDeviceGetName(char* name, int length, CUdevice device) {
  return guarded([&](Lock&) {
    Device* found = nullptr;
    std::snprintf(name, static_cast<std::size_t>(length), "Virtual GPU (compute capability %d.%d)", environment().capability / 10,
                  environment().capability % 10);
    return device_at(device, found);
  });
}

VGPU_EXPORT cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice device) {
  return guarded([&](Lock&) {
    Device* found = nullptr;
    *bytes = environment().memory_bytes;
    return device_at(device, found);
  });
}

VGPU_EXPORT cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
  return guarded([&](Lock&) {
    Device* found = nullptr;
    std::memset(uuid, 0, sizeof *uuid);
    std::memcpy(uuid->bytes, "vgpu", 4);
    uuid->bytes[15] = static_cast<char>(device);
    return device_at(device, found);
  });
}

VGPU_EXPORT cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  return guarded([&](Lock&) {
    Device* found = nullptr;
    if (CUresult result = device_at(device, found); result != CUDA_SUCCESS) {
      return result;
    }
    const Environment& env = environment();
    switch (attribute) {
      case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = env.capability / 10; break;
      case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = env.capability % 10; break;
      case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = env.num_sms(); break;
      case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = static_cast<int>(env.max_shared_bytes); break;
      case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: *value = 48 << 10; break;
      case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = static_cast<int>(env.shared_per_sm()); break;
      case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: *value = 1024; break;
      case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = 1024; break;
      case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
        *value = env.capability == 80 || env.capability == 90 || env.capability == 100 ? 2048 : 1536;
        break;
      case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: *value = 32; break;
      case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: *value = kNumRegisters; break;
      case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: *value = kNumRegisters; break;
      case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
      case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X: *value = 1024; break;
      case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: *value = 1024; break;
      case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: *value = 64; break;
      case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: *value = 2147483647; break;
      case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y: *value = 65535; break;
      case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: *value = 65535; break;
      case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = 1; break;
      case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: *value = 1; break;
      case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *value = 40 << 20; break;
      case CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH: *value = env.capability >= 90; break;
      case CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED: *value = env.capability >= 90; break;
      case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: *value = 2; break;
      default: *value = 0;  // clock rates, textures, graphics: nothing here has them
    }
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  return guarded([&](Lock&) {
    Device* found = nullptr;
    CUresult result = device_at(device, found);
    if (result == CUDA_SUCCESS) {
      found->retained++;
      *context = context_of(found);
    }
    return result;
  });
}

VGPU_EXPORT cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  return guarded([&](Lock& lock) {
    Device* found = nullptr;
    CUresult result = device_at(device, found);
    if (result != CUDA_SUCCESS) {
      return result;
    }
    if (found->retained == 0) {
      return CUDA_ERROR_INVALID_CONTEXT;
    }
    drain_all(*found, lock);
    if (--found->retained == 0) {
      // The context ends, and with it its memory and its sticky error.
      while (!found->allocations.empty()) {
        found->memory.free(found->allocations.begin()->first);
        found->allocations.erase(found->allocations.begin());
      }
      found->used_bytes = 0;
      found->lost = CUDA_SUCCESS;
    }
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuCtxSetCurrent(CUcontext context) {
  return guarded([&](Lock&) {
    for (const auto& device : state().devices) {
      if (context == nullptr || (context_of(device.get()) == context && device->retained > 0)) {
        current_device() = context == nullptr ? nullptr : device.get();
        return CUDA_SUCCESS;
      }
    }
    return CUDA_ERROR_INVALID_CONTEXT;
  });
}

VGPU_EXPORT cuCtxGetCurrent(CUcontext* context) {
  return guarded([&](Lock&) {
    *context = context_of(current_device());
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuCtxGetDevice(CUdevice* index) {
  return in_context([&](Device& device, Lock&) {
    *index = device.index;
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuCtxSynchronize() {
  return in_context([&](Device& device, Lock& lock) {
    drain_all(device, lock);
    return device.lost;
  });
}
