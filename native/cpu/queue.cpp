#include "cpu/queue.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "cpu/spin.h"

namespace attn::cpu {
namespace {

class PoolExecution : public Execution {
 public:
  /// With as much memory as for `threads`; `at_most` of them do the work.
  PoolExecution(ThreadPool& pool, int threads, int at_most, std::byte* memory, const std::atomic<bool>* cancel)
      : pool_(pool), at_most_(at_most), cancel_(cancel) {
    num_threads = threads;
    workspace = memory;
  }

 protected:
  void run(std::int64_t count, Task task, void* context) override { pool_.run(std::min(num_threads, at_most_), count, task, context, cancel_); }

 private:
  ThreadPool& pool_;
  int at_most_;
  const std::atomic<bool>* cancel_;
};

/// A workspace beyond this is given back after the item that needed it.
constexpr std::int64_t kKeptWorkspace = std::int64_t{64} << 20;
/// For so long a waiting thread works itself in one go: on an event loop nobody else has a turn meanwhile. Timers of an idle machine are later than this.
constexpr double kMostPutOffNs = 50'000;
/// An item that should take less is not worth waking another thread of the pool for.
constexpr double kAloneNs = 20'000;

/// How long the waiting thread is held by it; more than one other thread is not counted upon.
double held_ns(double nanoseconds, int threads) { return nanoseconds < kAloneNs || threads < 2 ? nanoseconds : nanoseconds / 2; }

}  // namespace

struct Queue::GiveBack {
  Queue& queue;
  std::int64_t bytes;
  ~GiveBack() { queue.give_workspace(bytes); }
};

void Queue::start_thread() {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t id;
  started_ = pthread_create(&id, nullptr, &Queue::main, this) == 0;
  if (started_) pthread_detach(id);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

std::uint64_t Queue::enqueue(std::int64_t workspace_bytes, int threads, CancelFlag cancel, std::function<void(Execution&)> work, std::int32_t* put_off,
                             double nanoseconds) {
  std::unique_lock lock(mutex_);
  const double held = held_ns(nanoseconds, threads);
  const bool small = put_off && put_off_ns_ + held <= kMostPutOffNs;
  items_.push_back({workspace_bytes, put_off && nanoseconds < kAloneNs ? 1 : threads, threads, std::move(cancel), std::move(work)});
  const std::uint64_t number = ++enqueued_;
  if (small && !running_ && !offered_.load(std::memory_order_relaxed)) {
    put_off_ns_ += held;
    *put_off = 1;
    return number;
  }
  offer_and_unlock(lock);
  return number;
}

void Queue::offer() {
  std::unique_lock lock(mutex_);
  if (!items_.empty() && !offered_.load(std::memory_order_relaxed)) offer_and_unlock(lock);
}

/// Needs a list that is not empty.
void Queue::offer_and_unlock(std::unique_lock<std::mutex>& lock) {
  if (!started_) start_thread();
  offered_.store(true, std::memory_order_release);
  put_off_ns_ = 0;
  if (!started_) {  // no thread to be had: the caller's own does the work
    while (running_) sleep_until_done(done_ + 1, lock);
    while (!items_.empty()) run_next(lock);
    return;
  }
  hand_over(lock);
}

/// Items that were offered are for the queue's thread to go on with. Releases the lock.
void Queue::hand_over(std::unique_lock<std::mutex>& lock) {
  // To wake a thread costs the caller more than all the rest of an op: only where it does sleep, and not into a held lock.
  const bool wake = offered_.load(std::memory_order_relaxed) && !running_ && std::exchange(asleep_, false);
  lock.unlock();
  if (wake) added_.notify_one();
}

/// Who sleeps for a later item is not woken by each before it: a woken thread takes a processor from those that work.
void Queue::sleep_until_done(std::uint64_t item, std::unique_lock<std::mutex>& lock) {
  awaited_ = std::min(awaited_, item);
  finished_.wait(lock);
}

bool Queue::finish_put_off() {
  std::unique_lock lock(mutex_);
  while (!items_.empty() && !running_ && !offered_.load(std::memory_order_relaxed)) run_next(lock);
  const bool done = done_ == enqueued_;
  hand_over(lock);
  return done;
}

std::uint64_t Queue::last_enqueued() {
  std::lock_guard lock(mutex_);
  return enqueued_;
}

void Queue::wait_for(std::uint64_t item) {
  std::unique_lock lock(mutex_);
  while (done_ < item) {
    if (!running_) {
      run_next(lock);
    } else {
      // What was offered, the queue's thread runs up to this item; what was put off, whoever waits for it.
      sleep_until_done(offered_.load(std::memory_order_relaxed) ? item : done_ + 1, lock);
    }
  }
  hand_over(lock);
}

void Queue::wait_for_cancelled(const CancelFlag& cancel) {
  offer();  // what is skipped has to let go of its memory
  std::unique_lock lock(mutex_);
  while (running_ && running_cancel_ == cancel) sleep_until_done(done_ + 1, lock);
}

std::string Queue::failure(bool clear) {
  std::lock_guard lock(mutex_);
  return clear ? std::exchange(failure_, {}) : failure_;
}

/// The kept buffer itself is not counted; what an item asked for is, while the item runs.
std::byte* Queue::take_workspace(std::int64_t bytes) {
  if (bytes == 0) return nullptr;
  if (bytes > workspace_capacity_) {
    free_workspace();
    workspace_ = memory_.allocate(bytes);
    workspace_capacity_ = bytes;
    return workspace_;
  }
  memory_.count_bytes(bytes);
  return workspace_;
}

void Queue::give_workspace(std::int64_t bytes) {
  memory_.count_bytes(-bytes);
  if (workspace_capacity_ > kKeptWorkspace) free_workspace();
}

void Queue::free_workspace() {
  if (!workspace_) return;
  memory_.count_bytes(workspace_capacity_);
  memory_.release(workspace_, workspace_capacity_);
  workspace_ = nullptr;
  workspace_capacity_ = 0;
}

/// Runs the first item with the lock released. Needs !running_ and a non-empty list.
void Queue::run_next(std::unique_lock<std::mutex>& lock) {
  running_ = true;
  Item item = std::move(items_.front());
  items_.pop_front();
  if (items_.empty()) {
    offered_.store(false, std::memory_order_release);
    put_off_ns_ = 0;
  }
  running_cancel_ = item.cancel;
  lock.unlock();
  std::string failure;
  if (!item.cancel->load(std::memory_order_relaxed)) {
    try {
      PoolExecution execution(pool_, item.threads, item.at_most, take_workspace(item.workspace_bytes), item.cancel.get());
      const GiveBack give_back{*this, item.workspace_bytes};
      item.work(execution);
    } catch (const std::exception& error) {
      failure = error.what();
    } catch (...) {
      failure = "unknown error";
    }
  }
  item.work = nullptr;  // lets go of tensors before anyone is told that the item is done
  lock.lock();
  if (failure_.empty()) failure_ = std::move(failure);
  ++done_;
  running_ = false;
  if (done_ < awaited_) return;
  awaited_ = kNone;  // until who wakes up sleeps on
  finished_.notify_all();
}

void* Queue::main(void* queue) {
  Queue& self = *static_cast<Queue*>(queue);
  std::unique_lock lock(self.mutex_);
  const auto added = [&] { return self.offered_.load(std::memory_order_acquire); };
  for (;;) {
    if (!added()) {
      // The steps of a layer follow each other within microseconds.
      lock.unlock();
      spin_until(added);
      lock.lock();
    }
    // A thread that waits for an item may be running them; it hands over what is left.
    while (!added() || self.running_) {
      self.asleep_ = true;
      self.added_.wait(lock);
      self.asleep_ = false;
    }
    self.run_next(lock);
  }
}

}  // namespace attn::cpu
