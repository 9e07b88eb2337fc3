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
/// machine's processor was idle. Between its looks it lets others run: with as many threads as processors, the one that is told that the work is done
/// needs the processor of one that waits for more. True when `done` came true.
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
    sched_yield();
  }
}

}  // namespace attn::cpu
