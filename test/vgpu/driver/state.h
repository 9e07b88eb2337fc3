// What the look-alike driver knows: devices with their memory, streams with their queues, events, modules.
//
// Streams are queues that run as late as they may: an operation runs when something waits for it (a synchronisation, a query, an
// operation of another stream) and not before. So a pinned buffer that is read before the copy into it has been waited for holds
// poison, and one that is overwritten too early is copied with the wrong contents.
#pragma once
#include <cuda.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "../vm/counters.h"
#include "../vm/launch.h"
#include "../vm/memory.h"
#include "../vm/program.h"

namespace vgpu::driver {

using Lock = std::unique_lock<std::recursive_mutex>;

struct Device;

struct Stream {
  explicit Stream(Device& of) : device(of) {}
  Device& device;
  std::deque<std::function<void(Lock&)>> queue;
  std::uint64_t enqueued = 0;
  std::uint64_t done = 0;
  bool running = false;  // an operation of this stream runs now, perhaps with the lock released
  std::thread::id runner;
};

struct Event {
  std::shared_ptr<Stream> stream;  // of the last record; null: never recorded
  std::uint64_t position = 0;      // complete once the stream has done this many operations
  std::shared_ptr<std::chrono::steady_clock::time_point> time = std::make_shared<std::chrono::steady_clock::time_point>();
};

struct Allocation {
  std::size_t bytes = 0;
  bool freeing = false;  // cuMemFreeAsync is enqueued
};

struct Device {
  int index = 0;
  int retained = 0;
  CUresult lost = CUDA_SUCCESS;  // a sticky error: every later call of the context returns it
  GlobalMemory memory;
  std::map<CUdeviceptr, Allocation> allocations;
  std::size_t used_bytes = 0;
  std::size_t peak_bytes = 0;
  std::shared_ptr<Stream> null_stream;
  std::set<std::shared_ptr<Stream>> streams;  // all, the null stream among them
};

struct Module;

struct Kernel {
  Module* module = nullptr;
  const Function* function = nullptr;
  unsigned max_dynamic_shared = 48 << 10;
};

struct Module {
  Device* device = nullptr;
  std::unique_ptr<Program> program;
  std::map<std::string, std::unique_ptr<Kernel>> kernels;
  std::map<std::string, std::pair<CUdeviceptr, std::size_t>> globals;
};

struct State {
  std::recursive_mutex mutex;
  std::condition_variable_any stream_idle;
  bool initialised = false;
  std::vector<std::unique_ptr<Device>> devices;
  std::map<char*, std::size_t> pinned;  // page-locked host memory
  std::set<Event*> events;
  std::set<Module*> modules;
};

State& state();

/// The device of the calling thread's current context, or null.
Device*& current_device();

/// Runs `body(lock)` under the driver's lock; an exception becomes CUDA_ERROR_UNKNOWN and a line on stderr.
CUresult guarded(const std::function<CUresult(Lock&)>& body);

/// guarded() for functions that need a current context: `body(device, lock)`. A lost device answers with its sticky error.
CUresult in_context(const std::function<CUresult(Device&, Lock&)>& body);

std::shared_ptr<Stream> stream_of(Device& device, CUstream handle);
void enqueue(Stream& stream, std::function<void(Lock&)> operation);

/// Runs the stream's operations until it has done `position` of them.
void drain(Stream& stream, std::uint64_t position, Lock& lock);
void drain_all(Device& device, Lock& lock);

/// The allocation that [address, address + bytes) lies in, or null.
const Allocation* find_allocation(const Device& device, CUdeviceptr address, std::size_t bytes, CUdeviceptr* base = nullptr);
bool is_pinned(const void* address);

/// Notes a sticky error; the first one stays.
void lose(Device& device, CUresult error);

}  // namespace vgpu::driver

#define VGPU_EXPORT extern "C" __attribute__((visibility("default"))) CUresult CUDAAPI
