#pragma once
// What the host side of a kernel may use: the device's stream, its facts, and copies in stream order.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>

#include "core/execution.h"

namespace attn::cuda {

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

struct DeviceFacts {
  int index = 0;
  int capability = 0;  // 80, 90, …: ten times the major version plus the minor one
  int num_sms = 0;
  int max_shared_per_block = 0;  // bytes, with the opt-in for more than 48 KiB
  std::string name;
};

/// Facts of the device that is current on this thread (Backend::enter). For rows that reject by them.
const DeviceFacts& device_facts();

/// Why this device cannot run a block with so much shared memory, if so.
std::optional<std::string> shared_memory_missing(int bytes);

/// A launch of a kernel of family sm90a.
struct HopperLaunch {
  Grid grid;
  unsigned threads = 0;
  unsigned shared_bytes = 0;
  unsigned cluster = 1;  // blocks of the x axis that share a cluster; grid.x is a multiple of it
  bool overlap = false;  // may start before the kernel before it ends: it says wait_for_previous_kernel() itself
};

/// Why the kernels of family sm90a do not run on this device, if so: their instructions are those of compute capability 9.0 alone.
std::optional<std::string> hopper_missing();

/// Why they run on no device of this machine; empty when there is one.
std::string hopper_missing_everywhere();

/// Runs at once on the calling thread: launches are asynchronous, in the order of the device's one stream. Memory is given
/// back in the same order, so what a launch uses may be released as soon as it was launched.
class CudaExecution : public Execution {
 public:
  const DeviceFacts& device() const { return device_facts(); }

  /// Launches the extern "C" kernel `kernel` of the image of `op`. `params` is its one parameter, passed by value. More than
  /// 48 KiB of dynamic shared memory is asked for where needed. Throws Error (kCuda) with CUDA's own name of the failure.
  template <class Params>
  void launch(const char* op, const char* kernel, Grid grid, unsigned threads, unsigned shared_bytes, const Params& params) {
    static_assert(std::is_trivially_copyable_v<Params>);
    launch_bytes(op, kernel, grid, threads, shared_bytes, const_cast<Params*>(&params));
  }

  /// The same for family sm90a.
  template <class Params>
  void launch(const char* op, const char* kernel, const HopperLaunch& how, const Params& params) {
    static_assert(std::is_trivially_copyable_v<Params> && sizeof(Params) <= 4096, "a kernel parameter is at most 4 KiB");
    launch_hopper(op, kernel, how, const_cast<Params*>(&params));
  }

  /// Bytes of the host to the device, in stream order; `host` may be reused on return.
  void upload(void* device, const void* host, std::size_t bytes);

 protected:
  void run(std::int64_t count, Task task, void* context) override;

 private:
  void launch_bytes(const char* op, const char* kernel, Grid grid, unsigned threads, unsigned shared_bytes, void* params);
  void launch_hopper(const char* op, const char* kernel, const HopperLaunch& how, void* params);
};

}  // namespace attn::cuda
