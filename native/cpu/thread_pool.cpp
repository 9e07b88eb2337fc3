#include "cpu/thread_pool.h"

#include <sched.h>
#include <signal.h>

#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace attn::cpu {
namespace {

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Spins for at most about 20 µs; true when `done` came true.
template <class Done>
bool spin_until(Done done) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::microseconds(20);
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      pause_briefly();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

}  // namespace

int usable_processors() {
  cpu_set_t cpus;
  const int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
  return count > 0 ? count : 1;
}

ThreadPool::ThreadPool(int num_threads) : num_threads_(num_threads) {}

void ThreadPool::start_workers(int threads) {
  // Signals belong to the threads that Node made.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  while (started_ < threads) {
    auto* worker = new Worker{this, started_, generation_.load(std::memory_order_relaxed)};
    pthread_t id;
    if (pthread_create(&id, &attributes, &ThreadPool::main, worker) != 0) {
      delete worker;
      break;  // fewer threads do the same work
    }
    ++started_;
  }
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void ThreadPool::run(int threads, std::int64_t count, Execution::Task task, void* context, const std::atomic<bool>* cancel) {
  if (count <= 0) return;
  if (threads > started_) start_workers(threads);
  if (threads > started_) threads = started_;
  if (threads == 1 || count == 1) {
    for (std::int64_t i = 0; i < count && !cancel->load(std::memory_order_relaxed); ++i) task(context, i, 0);
    return;
  }
  {
    std::lock_guard lock(mutex_);
    task_ = task;
    context_ = context;
    cancel_ = cancel;
    count_ = count;
    wanted_ = threads;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(started_ - 1, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  drain(0);
  // Every thread passes through every generation, so that none can still hold this job when the next one begins.
  const auto idle = [this] { return busy_.load(std::memory_order_acquire) == 0; };
  if (spin_until(idle)) return;
  std::unique_lock lock(mutex_);
  while (!idle()) done_.wait(lock);
}

void* ThreadPool::main(void* worker) {
  const Worker self = *static_cast<Worker*>(worker);
  delete static_cast<Worker*>(worker);
  self.pool->work(self.index, self.seen);
  return nullptr;
}

void ThreadPool::work(int index, std::uint64_t seen) {
  for (;;) {
    const auto changed = [&] { return generation_.load(std::memory_order_acquire) != seen; };
    if (!spin_until(changed)) {
      std::unique_lock lock(mutex_);
      while (!changed()) wake_.wait(lock);
    }
    seen = generation_.load(std::memory_order_acquire);
    drain(index);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      std::lock_guard lock(mutex_);  // not between the caller's look and its sleep
      done_.notify_one();
    }
  }
}

void ThreadPool::drain(int index) {
  if (index >= wanted_) return;
  for (std::int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_ && !cancel_->load(std::memory_order_relaxed);) {
    task_(context_, i, index);
  }
}

}  // namespace attn::cpu
