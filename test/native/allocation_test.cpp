// Decode steps allocate nothing: every call of malloc and its kin in this program is counted, by the thread that made it,
// while the real queue and thread pool run step after step. Enqueueing itself, on the caller's thread, is not counted.
// This program holds no JavaScript engine, so neither does what the steps run.

#include <sched.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "attention_case.h"
#include "attention_check.h"
#include "check.h"
#include "core/queued_work.h"
#include "cpu/queue.h"

namespace {
std::atomic<long> allocations{0};     // by threads that are not callers
thread_local bool is_caller = false;  // set by the test
std::atomic<bool> is_counting{false};

void note_allocation() {
  if (is_counting.load(std::memory_order_relaxed) && !is_caller) allocations.fetch_add(1, std::memory_order_relaxed);
}
}  // namespace

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ATTN_VISIBLE extern "C" __attribute__((visibility("default")))
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}
ATTN_VISIBLE void* malloc(std::size_t bytes) noexcept {
  note_allocation();
  return __libc_malloc(bytes);
}
ATTN_VISIBLE void* calloc(std::size_t count, std::size_t bytes) noexcept {
  note_allocation();
  return __libc_calloc(count, bytes);
}
ATTN_VISIBLE void* realloc(void* old, std::size_t bytes) noexcept {
  note_allocation();
  return __libc_realloc(old, bytes);
}
ATTN_VISIBLE void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  note_allocation();
  return __libc_memalign(alignment, bytes);
}
#else
// Elsewhere C++'s own allocations are counted, which are all that the schedule makes.
void* operator new(std::size_t bytes) {
  note_allocation();
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace {

using attn::Execution;
using attn::test::AttentionCase;
using attn::test::AttentionData;

// Never destroyed, as in the backend: their threads live as long as the process.
struct Device {
  attn::cpu::ThreadPool& pool = *new attn::cpu::ThreadPool(3);
  attn::cpu::Memory& memory = *new attn::cpu::Memory;
  attn::cpu::Queue& queue = *new attn::cpu::Queue(pool, memory);
  attn::CancelFlag cancel = std::make_shared<std::atomic<bool>>(false);
};

/// Allocations by the queue's and the pool's threads while `steps` items run. Waits without lending them this thread.
long allocations_of(Device& device, int steps, std::int64_t workspace, const std::function<void(Execution&)>& step) {
  is_caller = true;
  std::atomic<int> ran{0}, by_caller{0};
  allocations = 0;
  is_counting = true;
  for (int i = 0; i < steps; ++i) {
    device.queue.enqueue(workspace, device.pool.num_threads(), device.cancel, [&](Execution& execution) {
      step(execution);
      by_caller += is_caller;
      ++ran;
    });
  }
  while (ran < steps) sched_yield();
  is_counting = false;
  device.queue.wait_for(device.queue.last_enqueued());
  CHECK_EQUAL(by_caller.load(), 0);
  return allocations;
}

}  // namespace

TEST(allocations_of_other_threads_are_counted) {
  Device device;
  const long counted = allocations_of(device, 5, 0, [](Execution&) {
    std::unique_ptr<int> volatile_number(new int(1));
    asm volatile("" ::"r"(volatile_number.get()));
  });
  CHECK(counted >= 5);
}

/// Each thread takes all that is free and ends with it: what ended with threads must not count as kept.
TEST(work_blocks_go_round_after_many_threads_have_ended) {
  using attn::give_work_block;
  using attn::take_work_block;
  for (int round = 0; round < 20; ++round) {
    std::vector<void*> blocks;
    for (int i = 0; i < 50; ++i) blocks.push_back(take_work_block());
    for (void* block : blocks) give_work_block(block);
    std::thread([] { give_work_block(take_work_block()); }).join();
  }
  std::thread([] {
    const auto use_ten = [] {
      void* blocks[10];
      for (void*& block : blocks) block = take_work_block();
      for (void* block : blocks) give_work_block(block);
    };
    use_ten();
    allocations = 0;
    is_counting = true;
    for (int i = 0; i < 100; ++i) use_ten();
    is_counting = false;
  }).join();
  CHECK_EQUAL(allocations.load(), 0);
}

TEST(decode_steps_allocate_nothing) {
  Device device;
  std::vector<AttentionCase> cases(4);
  for (AttentionCase& c : cases) {
    c.qo_len = 1;
    c.num_qo_heads = 8;
    c.num_kv_heads = 2;
  }
  cases[0].kv_len = 2111;  // split
  cases[0].head_dim_qk = 40;
  cases[1].batch = 3;
  cases[1].kv_len = 700;
  cases[1].page_size = 16;
  cases[1].kv_lens = {700, 3, 411};
  cases[2].num_kv_heads = 1;  // a latent row
  cases[2].kv_len = 1500;
  cases[2].head_dim_qk = 72;
  cases[2].head_dim_vo = 64;
  cases[2].v_in_k = true;
  cases[3].qo_len = 5;  // several queries at once
  cases[3].batch = 2;
  cases[3].window_left = 100;
  cases[3].window_right = 0;
  for (const AttentionCase& c : cases) {
    for (const attn::test::Isa& isa : attn::test::usable_isas()) {
      AttentionData data(c);
      data.reset_outputs();
      const attn::cpu::AttentionPath path = attn::cpu::preferred_path(data.problem);
      const std::int64_t workspace = attn::cpu::attention_workspace(data.problem, isa.functions, path, device.pool.num_threads());
      const auto step = [&](Execution& execution) { attn::cpu::run_attention(data.problem, isa.functions, path, execution); };
      allocations_of(device, 3, workspace, step);  // threads start, lists grow
      CHECK_EQUAL(allocations_of(device, 40, workspace, step), 0);
    }
  }
}
