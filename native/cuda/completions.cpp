#include "cuda/completions.h"

#include <pthread.h>
#include <signal.h>

#include <utility>

#include "cuda/device.h"

namespace attn::cuda {

void Completions::start_thread() {
  // Signals belong to the threads that Node made.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t id;
  started_ = pthread_create(&id, nullptr, &Completions::main, this) == 0;
  if (started_) pthread_detach(id);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!started_) throw Error(ErrorCode::kInternal, "cuda:" + std::to_string(device_) + ": no thread to wait for the device with");
}

std::uint64_t Completions::add(CancelFlag cancel, std::function<void()> then) {
  // On a lost device nothing can be recorded; callbacks still come, with the failure.
  CUevent event = nullptr;
  if (lost_reason(device_).empty()) {
    enter_device(device_);
    check(driver().cuEventCreate(&event, CU_EVENT_DISABLE_TIMING | CU_EVENT_BLOCKING_SYNC), "cuEventCreate");
    if (const CUresult result = driver().cuEventRecord(event, stream())) {
      driver().cuEventDestroy(event);
      check(result, "cuEventRecord");
    }
  }
  std::lock_guard lock(mutex_);
  if (!started_) start_thread();
  items_.push_back({event, std::move(cancel), std::move(then)});
  added_.notify_one();
  return ++added_count_;
}

void Completions::wait_for(std::uint64_t number) {
  std::unique_lock lock(mutex_);
  while (done_ < number) finished_.wait(lock);
}

void Completions::wait_for_cancelled(const CancelFlag& cancel) {
  std::unique_lock lock(mutex_);
  while (running_cancel_ == cancel) finished_.wait(lock);
}

std::string Completions::failure(bool clear) {
  std::lock_guard lock(mutex_);
  if (failure_.empty()) return lost_reason(device_);
  return clear ? std::exchange(failure_, {}) : failure_;
}

void Completions::run_next(std::unique_lock<std::mutex>& lock) {
  Item item = std::move(items_.front());
  items_.pop_front();
  lock.unlock();
  std::string failure;
  try {
    if (item.event) {
      enter_device(device_);
      check(driver().cuEventSynchronize(item.event), "work on the device");
    }
  } catch (const Error& error) {
    failure = error.message;
  }
  if (item.event) driver().cuEventDestroy(item.event);
  lock.lock();
  if (failure_.empty()) failure_ = std::move(failure);
  // From here on the owner waits for us; a flag that is set already is seen.
  running_cancel_ = item.cancel;
  const bool wanted = item.then && !(item.cancel && item.cancel->load(std::memory_order_relaxed));
  lock.unlock();
  if (wanted) item.then();
  item.then = nullptr;
  lock.lock();
  running_cancel_.reset();
  ++done_;
  finished_.notify_all();
}

void* Completions::main(void* self) {
  Completions& completions = *static_cast<Completions*>(self);
  std::unique_lock lock(completions.mutex_);
  for (;;) {
    while (completions.items_.empty()) completions.added_.wait(lock);
    completions.run_next(lock);
  }
}

}  // namespace attn::cuda
