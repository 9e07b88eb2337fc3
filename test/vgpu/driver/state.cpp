#include "state.h"

#include <cstdio>
#include <exception>

namespace vgpu::driver {

State& state() {
  // Never destroyed: other threads may still call while the process ends.
  static State* const the_state = new State;
  return *the_state;
}

Device*& current_device() {
  thread_local Device* device = nullptr;
  return device;
}

CUresult guarded(const std::function<CUresult(Lock&)>& body) {
  Lock lock(state().mutex);
  if (!state().initialised) {
    return CUDA_ERROR_NOT_INITIALIZED;
  }
  try {
    return body(lock);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "vgpu: %s\n", error.what());
    return CUDA_ERROR_UNKNOWN;
  }
}

CUresult in_context(const std::function<CUresult(Device&, Lock&)>& body) {
  return guarded([&](Lock& lock) {
    Device* device = current_device();
    if (device == nullptr || device->retained == 0) {
      return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (device->lost != CUDA_SUCCESS) {
      return device->lost;
    }
    return body(*device, lock);
  });
}

std::shared_ptr<Stream> stream_of(Device& device, CUstream handle) {
  if (handle == nullptr || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
    return device.null_stream;
  }
  for (const auto& stream : device.streams) {
    if (reinterpret_cast<CUstream>(stream.get()) == handle) {
      return stream;
    }
  }
  return nullptr;
}

void enqueue(Stream& stream, std::function<void(Lock&)> operation) {
  stream.queue.push_back(std::move(operation));
  stream.enqueued++;
}

void drain(Stream& stream, std::uint64_t position, Lock& lock) {
  while (stream.done < position) {
    if (stream.running) {
      if (stream.runner == std::this_thread::get_id()) {
        return;  // called from inside one of its own host functions, which CUDA forbids
      }
      state().stream_idle.wait(lock);
      continue;
    }
    auto operation = std::move(stream.queue.front());
    stream.queue.pop_front();
    stream.running = true;
    stream.runner = std::this_thread::get_id();
    operation(lock);
    stream.running = false;
    stream.done++;
    state().stream_idle.notify_all();
  }
}

void drain_all(Device& device, Lock& lock) {
  const auto streams = device.streams;  // a copy: a host function may end with streams created or destroyed
  for (const auto& stream : streams) {
    drain(*stream, stream->enqueued, lock);
  }
}

const Allocation* find_allocation(const Device& device, CUdeviceptr address, std::size_t bytes, CUdeviceptr* base) {
  auto after = device.allocations.upper_bound(address);
  if (after == device.allocations.begin()) {
    return nullptr;
  }
  const auto& [begin, allocation] = *--after;
  if (address - begin > allocation.bytes || bytes > allocation.bytes - (address - begin)) {
    return nullptr;
  }
  if (base != nullptr) {
    *base = begin;
  }
  return &allocation;
}

bool is_pinned(const void* address) {
  const char* at = static_cast<const char*>(address);
  auto after = state().pinned.upper_bound(const_cast<char*>(at));
  if (after == state().pinned.begin()) {
    return false;
  }
  const auto& [begin, bytes] = *--after;
  return at < begin + bytes;
}

void lose(Device& device, CUresult error) {
  if (device.lost == CUDA_SUCCESS) {
    device.lost = error;
  }
}

}  // namespace vgpu::driver
