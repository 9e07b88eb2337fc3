#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace attn {

/// What a kernel may use while it runs: memory that it asked for beforehand and the device's threads.
class Execution {
 public:
  using Task = void (*)(void* context, std::int64_t task, int thread);

  std::byte* workspace = nullptr;  // as many bytes as Kernel::workspace asked for, 64-byte aligned, uninitialised
  int num_threads = 1;             // thread indices are 0 … num_threads - 1

  virtual ~Execution() = default;

  /// Runs fn(task, thread) for task = 0 … count - 1 in that order of starting, each once, and returns when all are done.
  /// Each thread takes its own share one at a time, then what the others have not begun, so put the long ones first. fn must not throw and must not nest.
  /// After a cancellation (the process or the worker is ending) remaining tasks are skipped.
  template <class Fn>
  void parallel_for(std::int64_t count, Fn&& fn) {
    run(
        count, [](void* context, std::int64_t task, int thread) { (*static_cast<std::remove_reference_t<Fn>*>(context))(task, thread); },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

 protected:
  virtual void run(std::int64_t count, Task task, void* context) = 0;
};

}  // namespace attn
