// Blocks for queued work go round between threads: nobody gets one that somebody else still has.

#include "core/queued_work.h"

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <set>
#include <thread>

#include "check.h"

namespace attn::test {

TEST(work_blocks_are_whole_and_nobody_elses) {
  constexpr int kPairs = 3, kTimes = 500;
  std::atomic<int> wrong{0};
  // Each pair: one thread takes blocks and hands them over, the other looks at them and gives them back.
  std::vector<std::thread> threads;
  std::vector<std::unique_ptr<std::atomic<unsigned char*>>> hands;
  for (int pair = 0; pair < kPairs; ++pair) {
    std::atomic<unsigned char*>& hand = *hands.emplace_back(std::make_unique<std::atomic<unsigned char*>>(nullptr));
    threads.emplace_back([&hand, pair] {
      for (int i = 0; i < kTimes; ++i) {
        auto* block = static_cast<unsigned char*>(take_work_block());
        std::memset(block, pair * 64 + i % 64, kWorkBlock);
        unsigned char* empty = nullptr;
        while (!hand.compare_exchange_weak(empty, block)) {
          empty = nullptr;
          std::this_thread::yield();
        }
      }
    });
    threads.emplace_back([&hand, &wrong, pair] {
      for (int i = 0; i < kTimes; ++i) {
        unsigned char* block;
        while (!(block = hand.exchange(nullptr))) std::this_thread::yield();
        for (std::size_t at = 0; at < kWorkBlock; ++at) wrong += block[at] != pair * 64 + i % 64;
        give_work_block(block);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQUAL(wrong.load(), 0);
}

TEST(work_blocks_are_used_again) {
  std::set<void*> first;
  for (int i = 0; i < 50; ++i) first.insert(take_work_block());
  CHECK_EQUAL(first.size(), 50u);
  for (void* block : first) give_work_block(block);
  int again = 0;
  std::vector<void*> second;
  for (int i = 0; i < 50; ++i) {
    second.push_back(take_work_block());
    again += first.count(second.back()) > 0;
  }
  CHECK(again > 0);
  for (void* block : second) give_work_block(block);
}

TEST(queued_work_lets_go_of_what_it_holds) {
  const auto held = std::make_shared<int>(1);
  const auto check = [&](auto filling) {
    int runs = 0;
    std::function<void(int&)> work = QueuedWork{[held, filling, &runs](int& by) { runs += by + (filling[0] - filling[0]); }};
    std::function<void(int&)> moved = std::move(work);
    CHECK_EQUAL(held.use_count(), 2);
    int by = 3;
    moved(by);
    CHECK_EQUAL(runs, 3);
    moved = nullptr;
    CHECK_EQUAL(held.use_count(), 1);
  };
  check(std::array<char, 8>{});
  check(std::array<char, 2 * kWorkBlock>{});  // too large for a block
}

TEST(work_lists_grow_beyond_a_block) {
  std::vector<std::array<char, 100>, WorkAllocator<std::array<char, 100>>> list;
  for (int i = 0; i < 1000; ++i) list.push_back({static_cast<char>(i)});
  int right = 0;
  for (int i = 0; i < 1000; ++i) right += list[static_cast<std::size_t>(i)][0] == static_cast<char>(i);
  CHECK_EQUAL(right, 1000);
}

TEST(held_storages_hold_all_of_them) {
  std::vector<std::weak_ptr<Storage>> seen;
  {
    std::vector<Tensor> tensors;
    // Borrowed memory of nobody: only the counts matter.
    for (int i = 0; i < 30; ++i) {
      tensors.push_back({std::shared_ptr<Storage>(reinterpret_cast<Storage*>(alignof(std::max_align_t)), [](Storage*) {}), {}});
      seen.push_back(tensors.back().storage);
    }
    const HeldStorages held(std::move(tensors));
    for (const std::weak_ptr<Storage>& storage : seen) CHECK(!storage.expired());
  }
  for (const std::weak_ptr<Storage>& storage : seen) CHECK(storage.expired());
}

}  // namespace attn::test
