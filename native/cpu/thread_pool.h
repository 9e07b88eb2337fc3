#pragma once

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

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
    std::uint64_t seen;  // the job at its creation: it takes part in later ones
  };
  static void* main(void* worker);
  void work(int index, std::uint64_t seen);
  bool enter(std::uint64_t& seen);
  void drain(int index);
  void start_workers(int threads);
  void leave_to_caller(int processor);

  std::atomic<int> num_threads_;
  int started_ = 1;       // threads that exist, the caller's own included
  cpu_set_t processors_;  // that the process may run on
  std::vector<pthread_t> workers_;
  int left_ = -1;  // the processor that workers leave to the caller

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  // Number of the job (upper half), whether threads may still enter it (kOpen), and how many are inside.
  static constexpr std::uint64_t kOpen = std::uint64_t{1} << 31;
  static constexpr bool is_open(std::uint64_t gate) { return (gate & kOpen) != 0; }
  static constexpr std::uint64_t inside(std::uint64_t gate) { return gate & (kOpen - 1); }
  std::atomic<std::uint64_t> gate_{0};
  std::atomic<int> sleeping_{0};

  // The job. Written while the gate is shut and nobody is inside.
  Execution::Task task_ = nullptr;
  void* context_ = nullptr;
  const std::atomic<bool>* cancel_ = nullptr;
  std::int64_t count_ = 0;
  int wanted_ = 1;  // threads that take part
  /// Of the tasks t, t + wanted, t + 2 · wanted, … how many have been taken: thread t's own, then taken by whoever has none left. The same call
  /// again finds its data in the same caches.
  struct Taken {
    std::atomic<std::int64_t> count{0};
    char apart[56];  // from the next one's cache line; aligned memory would take a newer C++ library than Node's
  };
  std::unique_ptr<Taken[]> taken_{new Taken[1]};  // [started_]
};

/// Processors that this process may run on.
int usable_processors();

}  // namespace attn::cpu
