#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "core/execution.h"

namespace attn::cpu {

/// The process's compute threads. One caller at a time (the queue): it takes part as thread 0.
/// Threads spin briefly before they sleep: the steps of one op follow each other within microseconds.
class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);

  int num_threads() const { return num_threads_.load(std::memory_order_relaxed); }
  /// Takes effect with the next run. Threads that are no longer wanted sleep.
  void set_num_threads(int count) { num_threads_.store(count, std::memory_order_relaxed); }

  /// Runs task(context, i, thread) for i = 0 … count - 1 on `threads` threads; skips the rest once `cancel` is set.
  void run(int threads, std::int64_t count, Execution::Task task, void* context, const std::atomic<bool>* cancel);

 private:
  struct Worker {
    ThreadPool* pool;
    int index;
    std::uint64_t seen;  // the generation at its creation: it takes part in every later one
  };
  static void* main(void* worker);
  void work(int index, std::uint64_t seen);
  void drain(int index);
  void start_workers(int threads);

  std::atomic<int> num_threads_;
  int started_ = 1;  // threads that exist, the caller's own included

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<std::uint64_t> generation_{0};

  // The job of the current generation.
  Execution::Task task_ = nullptr;
  void* context_ = nullptr;
  const std::atomic<bool>* cancel_ = nullptr;
  std::int64_t count_ = 0;
  int wanted_ = 1;  // threads that take part
  std::atomic<std::int64_t> next_{0};
  std::atomic<int> busy_{0};
};

/// Processors that this process may run on.
int usable_processors();

}  // namespace attn::cpu
