#pragma once

#include <cuda.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>

#include "core/backend.h"

namespace attn::cuda {

/// What is to happen on the host when the stream has come so far. One thread waits for the stream, in order.
class Completions {
 public:
  explicit Completions(int device) : device_(device) {}
  /// Calls `then` on the waiting thread when all that is on the stream by now has run, unless `cancel` is set by then. Returns its number.
  std::uint64_t add(CancelFlag cancel, std::function<void()> then);
  void wait_for(std::uint64_t number);
  /// With its flag set: returns when none of the owner's callbacks runs any more and none will.
  void wait_for_cancelled(const CancelFlag& cancel);
  /// The first failure that the waiting thread met since it was last cleared.
  std::string failure(bool clear);

 private:
  struct Item {
    CUevent event;
    CancelFlag cancel;
    std::function<void()> then;
  };
  static void* main(void* self);
  void start_thread();
  void run_next(std::unique_lock<std::mutex>& lock);

  const int device_;
  std::mutex mutex_;
  std::condition_variable added_, finished_;
  std::deque<Item> items_;
  std::uint64_t added_count_ = 0, done_ = 0;
  bool started_ = false;
  CancelFlag running_cancel_;
  std::string failure_;
};

}  // namespace attn::cuda
