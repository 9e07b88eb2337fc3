#pragma once
// An Execution for tests: real threads, and a workspace of exactly the size asked for, watched beyond its end.

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "core/execution.h"

namespace attn::test {

class ThreadExecution : public Execution {
 public:
  ThreadExecution(int threads, std::size_t workspace_bytes) : bytes_(workspace_bytes) {
    num_threads = threads;
    const std::size_t total = (bytes_ + kGuard + 63) / 64 * 64;
    workspace = static_cast<std::byte*>(std::aligned_alloc(64, total));
    std::memset(workspace, 0xff, total);  // NaN in every float type: a read before a write shows
  }
  ~ThreadExecution() override { std::free(workspace); }

  /// Whether the bytes behind the workspace are as they were.
  bool guard_intact() const {
    for (std::size_t i = 0; i < kGuard; ++i) {
      if (workspace[bytes_ + i] != std::byte{0xff}) return false;
    }
    return true;
  }

 protected:
  void run(std::int64_t count, Task task, void* context) override {
    std::atomic<std::int64_t> next{0};
    const auto work = [&](int thread) {
      for (std::int64_t i = next++; i < count; i = next++) task(context, i, thread);
    };
    std::vector<std::thread> others;
    for (int thread = 1; thread < num_threads; ++thread) others.emplace_back(work, thread);
    work(0);
    for (std::thread& other : others) other.join();
  }

 private:
  static constexpr std::size_t kGuard = 256;
  std::size_t bytes_;
};

}  // namespace attn::test
