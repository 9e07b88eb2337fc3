// Where the pool's threads run.
#include "cpu/thread_pool.h"

#include <sched.h>
#include <unistd.h>

#include <atomic>

#include "check.h"

using attn::cpu::ThreadPool;

namespace {

struct Seen {
  int avoided;
  std::atomic<int> tasks{0}, misplaced{0};
};

/// Runs jobs of two threads, called on `processor`, until the other thread has done some tasks.
Seen& run_beside(ThreadPool& pool, int processor, Seen& seen) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(processor, &one);
  sched_setaffinity(0, sizeof one, &one);
  seen.avoided = processor;
  const std::atomic<bool> cancel{false};
  const auto task = [](void* context, std::int64_t, int thread) {
    Seen& seen = *static_cast<Seen*>(context);
    if (thread == 0) return static_cast<void>(usleep(100));
    ++seen.tasks;
    seen.misplaced += sched_getcpu() == seen.avoided;
  };
  for (int job = 0; job < 1000 && seen.tasks < 20; ++job) pool.run(2, 40, task, &seen, &cancel);
  return seen;
}

}  // namespace

TEST(pool_leaves_the_callers_processor_to_it) {
  cpu_set_t before;
  sched_getaffinity(0, sizeof before, &before);
  int processors[2] = {-1, -1};
  for (int i = 0, found = 0; i < CPU_SETSIZE && found < 2; ++i) {
    if (CPU_ISSET(i, &before)) processors[found++] = i;
  }
  const bool has_two = processors[1] >= 0;
  ThreadPool& pool = *new ThreadPool(2);  // never destroyed, as in the backend
  for (const int processor : {processors[0], processors[has_two], processors[0]}) {
    Seen seen;
    run_beside(pool, processor, seen);
    CHECK(seen.tasks >= 20);
    if (has_two) CHECK_EQUAL(seen.misplaced.load(), 0);
  }
  sched_setaffinity(0, sizeof before, &before);
}
