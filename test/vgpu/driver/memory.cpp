// Device memory, page-locked host memory, copies and fills.
#include <cstdlib>
#include <cstring>

#include "environment.h"
#include "state.h"

using namespace vgpu::driver;

namespace {

CUresult allocate(Device& device, CUdeviceptr* address, std::size_t bytes, Lock& lock) {
  if (bytes == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::size_t limit = environment().memory_bytes;
  if (bytes > limit) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  if (device.used_bytes > limit - bytes) {
    drain_all(device, lock);  // frees may be waiting in a stream
  }
  if (device.used_bytes > limit - bytes) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  *address = device.memory.allocate(bytes);
  device.allocations[*address] = {bytes, false};
  device.used_bytes += bytes;
  device.peak_bytes = std::max(device.peak_bytes, device.used_bytes);
  return CUDA_SUCCESS;
}

CUresult release(Device& device, CUdeviceptr address) {
  auto found = device.allocations.find(address);
  if (found == device.allocations.end()) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  device.memory.free(address);
  device.used_bytes -= found->second.bytes;
  device.allocations.erase(found);
  return CUDA_SUCCESS;
}

/// Enqueues `operation` if `valid`; `now`: waits for it too.
CUresult submit(Device& device, CUstream handle, bool valid, bool now, Lock& lock, std::function<void()> operation) {
  auto stream = stream_of(device, handle);
  if (stream == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (!valid) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  enqueue(*stream, [&device, operation = std::move(operation)](Lock&) {
    if (device.lost == CUDA_SUCCESS) {
      operation();
    }
  });
  if (now) {
    drain_all(device, lock);
  }
  return now ? device.lost : CUDA_SUCCESS;
}

bool inside(const Device& device, CUdeviceptr address, std::size_t bytes) {
  const auto* allocation = find_allocation(device, address, bytes);
  return bytes == 0 || (allocation != nullptr && !allocation->freeing);
}

CUresult host_to_device(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream, bool now) {
  return in_context([&](Device& device, Lock& lock) {
    const bool valid = inside(device, to, bytes);
    if (is_pinned(from) && !now) {
      return submit(device, stream, valid, now, lock, [&device, to, from, bytes] { device.memory.write(to, from, bytes); });
    }
    // Pageable memory is staged before the call returns.
    const char* begin = static_cast<const char*>(from);
    auto staged = std::make_shared<std::vector<char>>(begin, begin + bytes);
    return submit(device, stream, valid, now, lock, [&device, to, staged] { device.memory.write(to, staged->data(), staged->size()); });
  });
}

CUresult device_to_host(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream, bool now) {
  return in_context([&](Device& device, Lock& lock) {
    const bool valid = inside(device, from, bytes);
    const bool late = !now && is_pinned(to);
    if (valid && late) {
      std::memset(to, 0xff, bytes);
    }
    return submit(device, stream, valid, !late, lock, [&device, to, from, bytes] { device.memory.read(to, from, bytes); });
  });
}

CUresult device_to_device(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream, bool now) {
  return in_context([&](Device& device, Lock& lock) {
    const bool valid = inside(device, to, bytes) && inside(device, from, bytes);
    return submit(device, stream, valid, now, lock, [&device, to, from, bytes] { device.memory.copy(to, from, bytes); });
  });
}

CUresult fill(CUdeviceptr to, std::uint32_t value, std::size_t width, std::size_t count, CUstream stream, bool now) {
  return in_context([&](Device& device, Lock& lock) {
    const bool valid = to % width == 0 && inside(device, to, count * width);
    return submit(device, stream, valid, now, lock, [&device, to, value, width, count] {
      std::vector<char> bytes(count * width);
      for (std::size_t i = 0; i < count; i++) {
        std::memcpy(&bytes[i * width], &value, width);
      }
      device.memory.write(to, bytes.data(), bytes.size());
    });
  });
}

}  // namespace

VGPU_EXPORT cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes) {
  return in_context([&](Device& device, Lock& lock) { return allocate(device, address, bytes, lock); });
}

VGPU_EXPORT cuMemFree_v2(CUdeviceptr address) {
  return in_context([&](Device& device, Lock& lock) {
    drain_all(device, lock);
    return address == 0 ? CUDA_SUCCESS : release(device, address);
  });
}

VGPU_EXPORT cuMemAllocAsync(CUdeviceptr* address, std::size_t bytes, CUstream handle) {
  return in_context(
      [&](Device& device, Lock& lock) { return stream_of(device, handle) == nullptr ? CUDA_ERROR_INVALID_HANDLE : allocate(device, address, bytes, lock); });
}

VGPU_EXPORT cuMemFreeAsync(CUdeviceptr address, CUstream handle) {
  return in_context([&](Device& device, Lock&) {
    auto stream = stream_of(device, handle);
    auto found = device.allocations.find(address);
    if (stream == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    if (found == device.allocations.end() || found->second.freeing) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    found->second.freeing = true;
    enqueue(*stream, [&device, address](Lock&) { release(device, address); });
    return CUDA_SUCCESS;
  });
}

// One pool per device; it is the device itself.
VGPU_EXPORT cuDeviceGetDefaultMemPool(CUmemoryPool* pool, CUdevice index) {
  return guarded([&](Lock&) {
    if (index < 0 || static_cast<std::size_t>(index) >= state().devices.size()) {
      return CUDA_ERROR_INVALID_DEVICE;
    }
    *pool = reinterpret_cast<CUmemoryPool>(state().devices[static_cast<std::size_t>(index)].get());
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute, void* value) {
  return pool == nullptr || value == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

VGPU_EXPORT cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void* value) {
  return guarded([&](Lock&) {
    const auto* device = reinterpret_cast<const Device*>(pool);
    const bool high = attribute == CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH || attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH;
    if (attribute < CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const cuuint64_t bytes = high ? device->peak_bytes : device->used_bytes;
    std::memcpy(value, &bytes, sizeof bytes);
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuMemPoolTrimTo(CUmemoryPool pool, std::size_t) { return pool == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS; }

VGPU_EXPORT cuMemGetInfo_v2(std::size_t* free_bytes, std::size_t* total_bytes) {
  return in_context([&](Device& device, Lock& lock) {
    drain_all(device, lock);
    *total_bytes = environment().memory_bytes;
    *free_bytes = environment().memory_bytes - device.used_bytes;
    return device.lost;
  });
}

VGPU_EXPORT cuMemHostAlloc(void** address, std::size_t bytes, unsigned) {
  return in_context([&](Device&, Lock&) {
    *address = bytes == 0 ? nullptr : std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (*address == nullptr) {
      return bytes == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OUT_OF_MEMORY;
    }
    std::memset(*address, 0xff, bytes);
    state().pinned[static_cast<char*>(*address)] = bytes;
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuMemAllocHost_v2(void** address, std::size_t bytes) { return cuMemHostAlloc(address, bytes, 0); }

VGPU_EXPORT cuMemFreeHost(void* address) {
  return guarded([&](Lock& lock) {
    if (state().pinned.find(static_cast<char*>(address)) == state().pinned.end()) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    for (const auto& device : state().devices) {
      drain_all(*device, lock);  // a copy may still want it
    }
    state().pinned.erase(static_cast<char*>(address));
    std::free(address);
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, std::size_t bytes) { return host_to_device(to, from, bytes, nullptr, true); }
VGPU_EXPORT cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream) {
  return host_to_device(to, from, bytes, stream, false);
}
VGPU_EXPORT cuMemcpyDtoH_v2(void* to, CUdeviceptr from, std::size_t bytes) { return device_to_host(to, from, bytes, nullptr, true); }
VGPU_EXPORT cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) { return device_to_host(to, from, bytes, stream, false); }
VGPU_EXPORT cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) { return device_to_device(to, from, bytes, nullptr, true); }
VGPU_EXPORT cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  return device_to_device(to, from, bytes, stream, false);
}

VGPU_EXPORT cuMemsetD8_v2(CUdeviceptr to, unsigned char value, std::size_t count) { return fill(to, value, 1, count, nullptr, true); }
VGPU_EXPORT cuMemsetD16_v2(CUdeviceptr to, unsigned short value, std::size_t count) { return fill(to, value, 2, count, nullptr, true); }
VGPU_EXPORT cuMemsetD32_v2(CUdeviceptr to, unsigned value, std::size_t count) { return fill(to, value, 4, count, nullptr, true); }
VGPU_EXPORT cuMemsetD8Async(CUdeviceptr to, unsigned char value, std::size_t count, CUstream stream) { return fill(to, value, 1, count, stream, false); }
VGPU_EXPORT cuMemsetD16Async(CUdeviceptr to, unsigned short value, std::size_t count, CUstream stream) { return fill(to, value, 2, count, stream, false); }
VGPU_EXPORT cuMemsetD32Async(CUdeviceptr to, unsigned value, std::size_t count, CUstream stream) { return fill(to, value, 4, count, stream, false); }

VGPU_EXPORT cuPointerGetAttribute(void* data, CUpointer_attribute attribute, CUdeviceptr address) {
  return guarded([&](Lock&) {
    for (const auto& device : state().devices) {
      if (find_allocation(*device, address, 1) == nullptr) {
        continue;
      }
      if (attribute == CU_POINTER_ATTRIBUTE_MEMORY_TYPE) {
        *static_cast<unsigned*>(data) = CU_MEMORYTYPE_DEVICE;
        return CUDA_SUCCESS;
      }
      if (attribute == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL) {
        *static_cast<int*>(data) = device->index;
        return CUDA_SUCCESS;
      }
    }
    return CUDA_ERROR_INVALID_VALUE;
  });
}
