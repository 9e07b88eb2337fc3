#pragma once

#include <sched.h>

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

/// Waits without sleeping for at most about half a millisecond: to be woken takes the system 5 to 100 µs, most where a virtual
/// machine's processor was idle. After 100 µs it lets others run between two looks. True when `done` came true.
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
    if (waited > microseconds(100)) sched_yield();
  }
}

}  // namespace attn::cpu
