// The in-order queue and the thread pool under it, without a kernel.
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "cpu/queue.h"

using attn::CancelFlag;
using attn::Execution;
using attn::cpu::Memory;
using attn::cpu::Queue;
using attn::cpu::ThreadPool;

namespace {

// Never destroyed, as in the backend: their threads live as long as the process.
struct Device {
  ThreadPool& pool = *new ThreadPool(3);
  Memory& memory = *new Memory;
  Queue& queue = *new Queue(pool, memory);
  CancelFlag cancel = std::make_shared<std::atomic<bool>>(false);

  std::uint64_t enqueue(std::function<void(Execution&)> work, std::int64_t workspace = 0) {
    return queue.enqueue(workspace, pool.num_threads(), cancel, std::move(work));
  }
};

struct User {
  Device* device;
  std::atomic<long>* total;
};

/// Enqueues 500 items of 64 tasks, waits for every third, and changes the number of threads now and then.
void* use(void* argument) {
  const User user = *static_cast<User*>(argument);
  Device& device = *user.device;
  for (int i = 0; i < 500; ++i) {
    if (i % 100 == 0) device.pool.set_num_threads(1 + i / 100);
    const std::uint64_t item = device.enqueue(
        [user](Execution& execution) {
          std::vector<long> parts(64);
          execution.parallel_for(64, [&](std::int64_t task, int) { parts[task] = task; });
          execution.parallel_for(3, [&](std::int64_t task, int thread) { parts[task] += thread < execution.num_threads ? 1 : 1000; });
          for (long part : parts) *user.total += part;
        },
        i % 7 * 1000);
    if (i % 3 == 0) device.queue.wait_for(item);
  }
  device.queue.wait_for(device.queue.last_enqueued());
  return nullptr;
}

}  // namespace

TEST(queue_runs_every_task_once_whoever_waits) {
  Device device;
  std::atomic<long> total{0};
  User user{&device, &total};
  pthread_t threads[3];
  for (pthread_t& thread : threads) pthread_create(&thread, nullptr, use, &user);
  for (pthread_t thread : threads) pthread_join(thread, nullptr);
  CHECK_EQUAL(total.load(), 3L * 500 * (64 * 63 / 2 + 3));
  CHECK_EQUAL(device.memory.use().bytes, 0);
}

TEST(queue_runs_items_in_order) {
  Device device;
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) device.enqueue([&order, i](Execution&) { order.push_back(i); });
  device.queue.wait_for(device.queue.last_enqueued());
  CHECK_EQUAL(order.size(), 100u);
  for (int i = 0; i < 100; ++i) CHECK_EQUAL(order[i], i);
}

TEST(queue_lets_who_waits_for_the_last_item_sleep_through_the_others) {
  Device device;
  constexpr int kItems = 60;
  std::uint64_t last = 0;
  for (int i = 0; i < kItems; ++i) last = device.enqueue([](Execution&) { usleep(500); });
  usleep(2000);  // the queue's thread has begun
  const auto sleeps = [] {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
  };
  const long before = sleeps();
  device.queue.wait_for(last);
  CHECK(sleeps() - before < kItems / 4);
}

TEST(queue_lets_go_of_an_item_before_it_counts_as_done) {
  Device device;
  for (int i = 0; i < 200; ++i) {
    auto held = std::make_shared<int>(i);
    const std::uint64_t item = device.enqueue([held](Execution&) {});
    device.queue.wait_for(item);
    CHECK_EQUAL(held.use_count(), 1);
  }
}

TEST(queue_runs_what_is_added_while_somebody_waits_for_another_item) {
  Device device;
  device.queue.wait_for(device.enqueue([](Execution&) {}));
  int ran = 0;
  for (int i = 0; i < 30; ++i) {
    // Long enough for the queue's thread to fall asleep: it is this thread then that runs the first item, and the other one
    // finds nothing to do, until the second item comes.
    usleep(1000);
    std::atomic<bool> second{false};
    device.queue.wait_for(device.enqueue([&](Execution&) {
      usleep(2000);
      device.enqueue([&](Execution&) { second = true; });
    }));
    for (int wait = 0; wait < 20'000 && !second; ++wait) usleep(100);  // and nobody waits for this one
    ran += second;
    device.queue.wait_for(device.queue.last_enqueued());
  }
  CHECK_EQUAL(ran, 30);
}

TEST(queue_keeps_the_first_failure_until_it_is_cleared) {
  Device device;
  device.enqueue([](Execution&) { throw std::runtime_error("first"); });
  device.enqueue([](Execution&) { throw std::runtime_error("second"); });
  bool ran = false;
  device.queue.wait_for(device.enqueue([&ran](Execution&) { ran = true; }));
  CHECK(ran);
  CHECK_EQUAL(device.queue.failure(false), std::string("first"));
  CHECK_EQUAL(device.queue.failure(true), std::string("first"));
  CHECK_EQUAL(device.queue.failure(true), std::string());
}

TEST(queue_turns_a_workspace_that_memory_lacks_into_a_failure) {
  Device device;
  device.queue.wait_for(device.enqueue([](Execution&) {}, std::int64_t{1} << 60));
  CHECK(device.queue.failure(true).find("out of memory") != std::string::npos);
  CHECK_EQUAL(device.memory.use().bytes, 0);
}

TEST(queue_skips_cancelled_items_and_tasks) {
  Device device;
  std::atomic<int> ran{0};
  // The first item cancels its owner's work at its first task: the others of it are skipped, and so is what follows.
  device.enqueue([&](Execution& execution) {
    execution.parallel_for(100000, [&](std::int64_t, int) {
      device.cancel->store(true);
      ++ran;
    });
  });
  device.queue.wait_for(device.enqueue([&](Execution&) { ran = 1000000; }));
  CHECK(ran.load() >= 1 && ran.load() <= 3);
}

TEST(queue_waits_for_the_running_item_of_a_cancelled_owner_only) {
  Device device;
  std::atomic<bool> started{false}, ended{false}, others_ran{false};
  device.enqueue([&](Execution&) {
    started = true;
    while (!device.cancel->load()) sched_yield();
    ended = true;
  });
  const CancelFlag other = std::make_shared<std::atomic<bool>>(false);
  std::atomic<bool> release{false};
  const std::uint64_t last = device.queue.enqueue(0, 1, other, [&](Execution&) {
    while (!release.load()) sched_yield();
    others_ran = true;
  });
  while (!started) sched_yield();
  device.cancel->store(true);
  device.queue.wait_for_cancelled(device.cancel);
  CHECK(ended.load());
  CHECK(!others_ran.load());
  release = true;
  device.queue.wait_for(last);
  CHECK(others_ran.load());
}

TEST(queue_counts_a_workspace_while_an_item_uses_it) {
  Device device;
  std::int64_t during = 0;
  device.queue.wait_for(device.enqueue([&](Execution&) { during = device.memory.use().bytes; }, 4096));
  CHECK_EQUAL(during, 4096);
  CHECK_EQUAL(device.memory.use().bytes, 0);
  CHECK_EQUAL(device.memory.use().peak_bytes, 4096);
}

namespace {

/// A device used from the thread of an event loop.
struct LoopDevice : Device {
  std::int32_t put_off = 0;

  std::uint64_t enqueue_small(std::function<void(Execution&)> work, double nanoseconds = 1000) {
    return queue.enqueue(0, pool.num_threads(), cancel, std::move(work), &put_off, nanoseconds);
  }
};

bool comes_true(const std::atomic<bool>& flag) {
  for (int wait = 0; wait < 100'000 && !flag; ++wait) usleep(100);
  return flag;
}

}  // namespace

TEST(queue_puts_small_items_off_until_somebody_waits) {
  LoopDevice device;
  std::vector<int> order;
  pthread_t ran_on{};
  for (int i = 0; i < 10; ++i) {
    device.enqueue_small([&, i](Execution&) {
      order.push_back(i);
      ran_on = pthread_self();
    });
    CHECK_EQUAL(device.put_off, 1);
  }
  usleep(2000);
  CHECK(order.empty());
  CHECK(device.queue.finish_put_off());
  CHECK_EQUAL(order.size(), 10u);
  for (int i = 0; i < 10; ++i) CHECK_EQUAL(order[i], i);
  CHECK(pthread_equal(ran_on, pthread_self()));
}

TEST(queue_runs_what_was_put_off_when_it_is_offered_or_has_gathered) {
  LoopDevice device;
  std::atomic<bool> offered{false}, gathered{false};
  device.enqueue_small([&](Execution&) { offered = true; });
  device.queue.offer();
  CHECK(comes_true(offered));
  // A millisecond in all: nobody waits and nobody offers.
  for (int i = 0; i < 1000; ++i) device.enqueue_small([](Execution&) {});
  device.enqueue_small([&](Execution&) { gathered = true; }, 1e6);
  CHECK(comes_true(gathered));
  device.queue.wait_for(device.queue.last_enqueued());
}

TEST(queue_keeps_the_order_of_items_that_were_put_off_and_others) {
  LoopDevice device;
  std::vector<int> order;
  for (int i = 0; i < 300; ++i) {
    const auto work = [&order, i](Execution&) { order.push_back(i); };
    i % 7 == 3 ? device.enqueue(work) : device.enqueue_small(work, i % 5 * 4000);
    if (i % 11 == 0) device.queue.finish_put_off();
    if (i % 23 == 0) device.queue.wait_for(device.queue.last_enqueued());
  }
  device.queue.wait_for(device.queue.last_enqueued());
  CHECK_EQUAL(order.size(), 300u);
  for (int i = 0; i < 300; ++i) CHECK_EQUAL(order[i], i);
}

TEST(queue_lets_go_of_what_a_cancelled_owner_put_off) {
  LoopDevice device;
  auto held = std::make_shared<int>(0);
  bool ran = false;
  device.enqueue_small([held, &ran](Execution&) { ran = true; });
  device.cancel->store(true);
  device.queue.wait_for_cancelled(device.cancel);
  for (int wait = 0; wait < 100'000 && held.use_count() > 1; ++wait) usleep(100);
  CHECK_EQUAL(held.use_count(), 1);
  CHECK(!ran);
}

TEST(queue_reports_the_failure_of_an_item_that_was_put_off) {
  LoopDevice device;
  device.enqueue_small([](Execution&) { throw std::runtime_error("put off"); });
  CHECK(device.queue.finish_put_off());
  CHECK_EQUAL(device.queue.failure(true), std::string("put off"));
}
