#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>

#include "core/backend.h"
#include "cpu/memory.h"
#include "cpu/thread_pool.h"

namespace attn::cpu {

/// The CPU's in-order queue: one item at a time, each over all threads of the pool. Items run on a thread of its own, or
/// on a thread that waits for one of them.
///
/// To hand an item to another thread and to be told that it is done takes longer than a small item. So while nothing else is to be done, small ones
/// are put off: whoever waits for them runs them, and the queue's own thread does when more of them has gathered, or when they are offered.
class Queue {
 public:
  Queue(ThreadPool& pool, Memory& memory) : pool_(pool), memory_(memory) {}

  /// Where `put_off` is given the item may be put off, by how long it should take one thread; *put_off becomes 1 then, and somebody has to offer().
  std::uint64_t enqueue(std::int64_t workspace_bytes, int threads, CancelFlag cancel, std::function<void(Execution&)> work, std::int32_t* put_off = nullptr,
                        double nanoseconds = 0);
  void offer();
  /// Runs what was put off; true when nothing is left to do.
  bool finish_put_off();
  std::uint64_t last_enqueued();
  void wait_for(std::uint64_t item);
  void wait_for_cancelled(const CancelFlag& cancel);
  std::string failure(bool clear);

 private:
  struct Item {
    std::int64_t workspace_bytes;
    int at_most;  // threads that do the work, of as many as it was planned for
    int threads;
    CancelFlag cancel;
    std::function<void(Execution&)> work;
  };
  struct GiveBack;
  static void* main(void* queue);
  void offer_and_unlock(std::unique_lock<std::mutex>& lock);
  void start_thread();
  void run_next(std::unique_lock<std::mutex>& lock);
  void sleep_until_done(std::uint64_t item, std::unique_lock<std::mutex>& lock);
  void hand_over(std::unique_lock<std::mutex>& lock);
  std::byte* take_workspace(std::int64_t bytes);
  void give_workspace(std::int64_t bytes);
  void free_workspace();

  ThreadPool& pool_;
  Memory& memory_;
  std::mutex mutex_;
  std::condition_variable added_, finished_;
  std::deque<Item> items_;
  std::atomic<bool> offered_{false};  // there are items, and they are for the queue's thread; else they were put off
  double put_off_ns_ = 0;             // of all that was put off
  bool asleep_ = false;               // the queue's thread is, until added_
  std::uint64_t enqueued_ = 0, done_ = 0;
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};
  std::uint64_t awaited_ = kNone;  // the first item whose end a thread sleeps for, on finished_
  bool running_ = false, started_ = false;
  CancelFlag running_cancel_;  // of the item that runs
  std::string failure_;
  // Kept from item to item, so that a decode step does not pay for fresh pages; counted in memory_ only while in use.
  std::byte* workspace_ = nullptr;
  std::int64_t workspace_capacity_ = 0;
};

}  // namespace attn::cpu
