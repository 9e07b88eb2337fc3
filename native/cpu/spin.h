#pragma once

#include <sched.h>

#include <atomic>
#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace attn::cpu {

inline void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// How many threads outside of here have been told that their work is done, and have not run since.
inline std::atomic<int>& threads_told() {
  static std::atomic<int> count{0};
  return count;
}

/// Waits without sleeping for at most about half a millisecond: to be woken takes the system 5 to 100 µs, most where a virtual
/// machine's processor was idle. After 100 µs it lets others run between two looks, and earlier while a thread outside of here has been told that
/// its work is done: with as many threads as processors, it needs the processor of one that waits for more. True when `done` came true.
template <class Done>
bool spin_until(Done done) {
  using std::chrono::microseconds;
  const auto began = std::chrono::steady_clock::now();
  for (;;) {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      pause_briefly();
    }
    const auto waited = std::chrono::steady_clock::now() - began;
    if (waited > microseconds(500)) return false;
    if (waited > microseconds(100) || threads_told().load(std::memory_order_relaxed) > 0) sched_yield();
  }
}

}  // namespace attn::cpu
