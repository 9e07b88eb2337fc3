// Streams, events and host functions.
#include "state.h"

#undef cuEventElapsedTime  // cuda.h makes it the name of the second version; both are exported

using namespace vgpu::driver;

namespace {

/// The event behind a handle, or null.
Event* event_of(CUevent handle) {
  auto found = state().events.find(reinterpret_cast<Event*>(handle));
  return found == state().events.end() ? nullptr : *found;
}

void run_unlocked(Lock& lock, const std::function<void()>& function) {
  // A host function may wait for a lock that another thread holds while it calls the driver.
  lock.unlock();
  function();
  lock.lock();
}

}  // namespace

VGPU_EXPORT cuStreamCreate(CUstream* handle, unsigned) {
  return in_context([&](Device& device, Lock&) {
    auto stream = std::make_shared<Stream>(device);
    device.streams.insert(stream);
    *handle = reinterpret_cast<CUstream>(stream.get());
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuStreamCreateWithPriority(CUstream* handle, unsigned flags, int) { return cuStreamCreate(handle, flags); }

VGPU_EXPORT cuStreamDestroy_v2(CUstream handle) {
  return guarded([&](Lock& lock) {
    for (const auto& device : state().devices) {
      auto stream = handle == nullptr ? nullptr : stream_of(*device, handle);
      if (stream != nullptr && stream != device->null_stream) {
        drain(*stream, stream->enqueued, lock);
        device->streams.erase(stream);
        return device->lost;
      }
    }
    return CUDA_ERROR_INVALID_HANDLE;
  });
}

VGPU_EXPORT cuStreamSynchronize(CUstream handle) {
  return in_context([&](Device& device, Lock& lock) {
    auto stream = stream_of(device, handle);
    if (stream == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    drain(*stream, stream->enqueued, lock);
    return device.lost;
  });
}

// A query makes progress, or a loop that polls would never end.
VGPU_EXPORT cuStreamQuery(CUstream handle) { return cuStreamSynchronize(handle); }

VGPU_EXPORT cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned) {
  return in_context([&](Device& device, Lock&) {
    auto stream = stream_of(device, handle);
    Event* event = event_of(event_handle);
    if (stream == nullptr || event == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    if (event->stream != nullptr) {
      enqueue(*stream, [other = event->stream, position = event->position](Lock& lock) { drain(*other, position, lock); });
    }
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuLaunchHostFunc(CUstream handle, CUhostFn function, void* data) {
  return in_context([&](Device& device, Lock&) {
    auto stream = stream_of(device, handle);
    if (stream == nullptr || function == nullptr) {
      return stream == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    }
    enqueue(*stream, [&device, function, data](Lock& lock) {
      if (device.lost == CUDA_SUCCESS) {
        run_unlocked(lock, [&] { function(data); });
      }
    });
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuEventCreate(CUevent* handle, unsigned) {
  return in_context([&](Device&, Lock&) {
    auto* event = new Event;
    state().events.insert(event);
    *handle = reinterpret_cast<CUevent>(event);
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuEventDestroy_v2(CUevent handle) {
  return guarded([&](Lock&) {
    Event* event = event_of(handle);
    if (event == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    state().events.erase(event);
    delete event;
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuEventRecord(CUevent handle, CUstream stream_handle) {
  return in_context([&](Device& device, Lock&) {
    auto stream = stream_of(device, stream_handle);
    Event* event = event_of(handle);
    if (stream == nullptr || event == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    enqueue(*stream, [time = event->time](Lock&) { *time = std::chrono::steady_clock::now(); });
    event->stream = stream;
    event->position = stream->enqueued;
    return CUDA_SUCCESS;
  });
}

VGPU_EXPORT cuEventSynchronize(CUevent handle) {
  return in_context([&](Device& device, Lock& lock) {
    Event* event = event_of(handle);
    if (event == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    if (const auto stream = event->stream; stream != nullptr) {
      drain(*stream, event->position, lock);
    }
    return device.lost;
  });
}

VGPU_EXPORT cuEventQuery(CUevent handle) { return cuEventSynchronize(handle); }

// The time the interpreter took: good for a program that divides by it, and for nothing else.
VGPU_EXPORT cuEventElapsedTime_v2(float* milliseconds, CUevent begin_handle, CUevent end_handle) {
  return in_context([&](Device& device, Lock&) {
    const Event* begin = event_of(begin_handle);
    const Event* end = event_of(end_handle);
    if (begin == nullptr || end == nullptr || begin->stream == nullptr || end->stream == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    if (begin->stream->done < begin->position || end->stream->done < end->position) {
      return CUDA_ERROR_NOT_READY;
    }
    *milliseconds = std::chrono::duration<float, std::milli>(*end->time - *begin->time).count();
    return device.lost;
  });
}

VGPU_EXPORT cuEventElapsedTime(float* milliseconds, CUevent begin, CUevent end) { return cuEventElapsedTime_v2(milliseconds, begin, end); }
