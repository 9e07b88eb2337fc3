#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/execution.h"
#include "core/tensor_view.h"
#include "core/work_size.h"

namespace attn {

struct DeviceDescription {
  std::string id, name, arch;
  DeviceType type = DeviceType::kCpu;
  std::int64_t total_memory = 0, free_memory = 0;
  int units = 0;
};

struct MemoryUse {
  std::int64_t tensors = 0, bytes = 0, peak_bytes = 0;
};

/// Set when the owner of queued work goes away (its worker thread or the process ends): the rest is skipped.
using CancelFlag = std::shared_ptr<std::atomic<bool>>;

/// What a device must offer. All functions may be called from any thread.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual DeviceType type() const = 0;
  /// Which of the devices of its type.
  virtual int index() const { return 0; }
  Device device() const { return {type(), index()}; }
  /// Makes this device the one whose facts kernels are chosen by on this thread. Throws kCuda when it is lost.
  virtual void enter() {}
  virtual DeviceDescription describe() const = 0;
  virtual MemoryUse memory() const = 0;

  /// Throws kOutOfMemory with requested and available.
  virtual std::byte* allocate(std::int64_t bytes) = 0;
  virtual void release(std::byte* data, std::int64_t bytes) = 0;
  virtual void count_tensor(int delta) = 0;

  /// The host's bytes into memory of this device, before what is enqueued later; `host` may be reused on return.
  virtual void upload(std::byte* data, const std::byte* host, std::int64_t bytes) = 0;
  virtual void fill_zeros(std::byte* data, std::int64_t bytes) = 0;
  /// Bytes of this device into memory of the host when all enqueued so far has run; never once `cancel` is set.
  virtual void download(const std::byte* data, std::byte* host, std::int64_t bytes, CancelFlag cancel) = 0;

  /// Work for the in-order queue; returns its number. `workspace_bytes` are provided in Execution::workspace while it runs
  /// on `threads` threads. What `work` captured is destroyed before the next item starts. What it throws is a failure.
  virtual std::uint64_t enqueue(std::int64_t workspace_bytes, int threads, CancelFlag cancel, std::function<void(Execution&)> work) = 0;
  /// The same for work of a known size: where this thread is an event loop's (current_put_off), small work may be put off until somebody waits
  /// for it, more of it has gathered, or offer().
  virtual std::uint64_t enqueue_sized(const WorkSize&, std::int64_t workspace_bytes, int threads, CancelFlag cancel, std::function<void(Execution&)> work) {
    return enqueue(workspace_bytes, threads, std::move(cancel), std::move(work));
  }
  /// Has all work started that was put off.
  virtual void offer() {}
  /// Runs what was put off on the calling thread, which takes some ten microseconds at most. True when all enqueued so far has run.
  virtual bool finish_put_off() { return false; }
  /// Calls `then`, on some thread, when all enqueued so far has run; never once `cancel` is set.
  virtual void when_reached(CancelFlag cancel, std::function<void()> then) = 0;
  /// The number of the last item enqueued so far.
  virtual std::uint64_t last_enqueued() = 0;
  /// Blocks until that item has run; on the CPU the calling thread runs queued work instead of sleeping where it can.
  virtual void wait_for(std::uint64_t item) = 0;
  /// For an owner that ends: with its flag set, returns when none of its items runs any more and none will.
  virtual void wait_for_cancelled(const CancelFlag& cancel) = 0;
  /// The message of the first item that failed since it was last cleared; empty when none did.
  virtual std::string failure(bool clear) = 0;

  virtual int num_threads() const = 0;
  virtual void set_num_threads(int count) = 0;
};

/// The backend of a device. Throws kDeviceUnavailable, or kUnsupported, with the reason.
Backend& backend_of(Device device);
/// Why a device cannot be used here; empty when it can.
std::string unavailable_reason(Device device);
/// What kind of error that is: kUnsupported for a device that is there but that no kernel of this build can run on.
ErrorCode unavailable_code(Device device);
/// How many devices of a type this machine has, usable or not.
int count_devices(DeviceType type);
/// Makes a backend known; called once by each backend's own registration.
void provide_backend(Backend* backend);

/// The backends that anyone has asked for yet.
std::vector<Backend*> opened_backends();
/// Why a device cannot be used.
struct Refusal {
  std::string reason;
  ErrorCode code = ErrorCode::kDeviceUnavailable;
};
/// Devices that are counted, and opened one by one, when someone first asks; where one cannot be used, `open` says why.
struct DeviceOpener {
  std::function<int()> count;
  std::function<Backend*(int index, Refusal& refusal)> open;
};
void provide_backends_when_asked(DeviceType type, DeviceOpener opener);

/// For the thread of an event loop, which sees to it that offer() is called soon after this has become 1: when work enqueued from the thread was put
/// off. Null on other threads, whose work is never put off.
std::int32_t*& current_put_off();

/// The cancel flag for work enqueued from this thread (each worker thread's environment has its own).
CancelFlag& current_cancel_flag();

}  // namespace attn
