#include "cpu/thread_pool.h"

#include <sched.h>
#include <signal.h>

#include "cpu/spin.h"

namespace attn::cpu {

namespace {

/// As many workers at most are told which processor to leave; where there are more, some processor is idle when they wake.
constexpr std::size_t kMostTold = 7;

}  // namespace

int usable_processors() {
  cpu_set_t cpus;
  const int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
  return count > 0 ? count : 1;
}

ThreadPool::ThreadPool(int num_threads) : num_threads_(num_threads) {
  if (sched_getaffinity(0, sizeof processors_, &processors_) != 0) CPU_ZERO(&processors_);
}

void ThreadPool::start_workers(int threads) {
  // Signals belong to the threads that Node made.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  while (started_ < threads) {
    auto* worker = new Worker{this, started_, gate_.load(std::memory_order_relaxed) >> 32};
    pthread_t id;
    if (pthread_create(&id, &attributes, &ThreadPool::main, worker) != 0) {
      delete worker;
      break;  // fewer threads do the same work
    }
    workers_.push_back(id);
    left_ = -1;
    ++started_;
  }
  taken_.reset(new Taken[started_]);  // the gate is shut and nobody is inside
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

/// Where every processor has something to do, the system wakes a thread on the processor of whom wakes it, to wait there until that one sleeps or
/// the system has another look, milliseconds later; the small op is done by one thread then.
void ThreadPool::leave_to_caller(int processor) {
  left_ = processor;
  if (workers_.size() > kMostTold || processor < 0 || processor >= CPU_SETSIZE) return;
  cpu_set_t others = processors_;
  CPU_CLR(processor, &others);
  const bool enough = static_cast<std::size_t>(CPU_COUNT(&others)) >= workers_.size();
  for (const pthread_t worker : workers_) pthread_setaffinity_np(worker, sizeof others, enough ? &others : &processors_);
}

void ThreadPool::run(int threads, std::int64_t count, Execution::Task task, void* context, const std::atomic<bool>* cancel) {
  if (count <= 0) return;
  if (threads > started_) start_workers(threads);
  if (threads > started_) threads = started_;
  if (threads == 1 || count == 1) {
    for (std::int64_t i = 0; i < count && !cancel->load(std::memory_order_relaxed); ++i) task(context, i, 0);
    return;
  }
  if (const int processor = sched_getcpu(); processor != left_) leave_to_caller(processor);
  // The gate is shut and nobody is inside: the job is ours to write.
  task_ = task;
  context_ = context;
  cancel_ = cancel;
  count_ = count;
  wanted_ = threads;
  for (int t = 0; t < threads; ++t) taken_[t].count.store(0, std::memory_order_relaxed);
  {
    std::lock_guard lock(mutex_);  // not between a worker's look and its sleep
    gate_.store(((gate_.load(std::memory_order_relaxed) >> 32) + 1) << 32 | kOpen, std::memory_order_release);
  }
  if (sleeping_.load(std::memory_order_relaxed) > 0) wake_.notify_all();
  drain(0);
  // Who wakes up only now finds the gate shut: a thread that the system is slow to wake must not hold up the rest.
  gate_.fetch_and(~kOpen, std::memory_order_acq_rel);
  const auto empty = [this] { return inside(gate_.load(std::memory_order_acquire)) == 0; };
  if (spin_until(empty)) return;
  std::unique_lock lock(mutex_);
  while (!empty()) done_.wait(lock);
}

/// Enters the open job, if there is one that this thread has not been in.
bool ThreadPool::enter(std::uint64_t& seen) {
  std::uint64_t gate = gate_.load(std::memory_order_acquire);
  while (is_open(gate) && gate >> 32 != seen) {
    if (gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel)) {
      seen = gate >> 32;
      return true;
    }
  }
  return false;
}

void* ThreadPool::main(void* worker) {
  const Worker self = *static_cast<Worker*>(worker);
  delete static_cast<Worker*>(worker);
  self.pool->work(self.index, self.seen);
  return nullptr;
}

void ThreadPool::work(int index, std::uint64_t seen) {
  for (;;) {
    const auto entered = [&] { return enter(seen); };
    if (!spin_until(entered)) {
      std::unique_lock lock(mutex_);
      sleeping_.fetch_add(1, std::memory_order_relaxed);
      while (!entered()) wake_.wait(lock);
      sleeping_.fetch_sub(1, std::memory_order_relaxed);
    }
    drain(index);
    const std::uint64_t left = gate_.fetch_sub(1, std::memory_order_acq_rel) - 1;
    if (inside(left) == 0 && !is_open(left)) {
      std::lock_guard lock(mutex_);  // not between the caller's look and its sleep
      done_.notify_one();
    }
  }
}

void ThreadPool::drain(int index) {
  if (index >= wanted_) return;
  for (int n = 0; n < wanted_; ++n) {
    const int whose = index + n < wanted_ ? index + n : index + n - wanted_;
    const auto take = [&] { return whose + taken_[whose].count.fetch_add(1, std::memory_order_relaxed) * wanted_; };
    for (std::int64_t i; (i = take()) < count_ && !cancel_->load(std::memory_order_relaxed);) task_(context_, i, index);
  }
}

}  // namespace attn::cpu
