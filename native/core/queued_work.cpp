#include "core/queued_work.h"

#include <atomic>
#include <new>

namespace attn {
namespace {

struct Free {
  Free* next;
};

/// Blocks that are kept for the next calls; a longer queue's are given back to the system.
constexpr int kMostKept = 256;

// Blocks come back one at a time and are taken all at once: a list with no other ways needs no lock and no counters against
// a head that went and came back.
std::atomic<Free*> returned{nullptr};
std::atomic<int> kept{0};

/// What this thread took and has not used yet.
struct Taken {
  Free* first = nullptr;
  ~Taken() {
    for (; first; kept.fetch_sub(1, std::memory_order_relaxed)) ::operator delete(std::exchange(first, first->next));
  }
};
thread_local Taken taken;

}  // namespace

void* take_work_block() {
  if (!taken.first) taken.first = returned.exchange(nullptr, std::memory_order_acquire);
  if (!taken.first) return ::operator new(kWorkBlock);
  kept.fetch_sub(1, std::memory_order_relaxed);
  return std::exchange(taken.first, taken.first->next);
}

void give_work_block(void* block) {
  if (kept.fetch_add(1, std::memory_order_relaxed) >= kMostKept) {
    kept.fetch_sub(1, std::memory_order_relaxed);
    ::operator delete(block);
    return;
  }
  Free* entry = new (block) Free{returned.load(std::memory_order_relaxed)};
  while (!returned.compare_exchange_weak(entry->next, entry, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

}  // namespace attn
