#pragma once
// What a queued call holds until it has run. One thread makes it and another one lets go of it, with every call: by malloc
// and free both would wait for the lock of one arena, which took most of an enqueue. So the blocks go round.

#include <array>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "core/tensor.h"

namespace attn {

inline constexpr std::size_t kWorkBlock = 2048;

/// A block of kWorkBlock bytes, on any thread. Throws std::bad_alloc.
void* take_work_block();
void give_work_block(void* block);

/// For what a problem lists.
template <class T>
struct WorkAllocator {
  using value_type = T;
  WorkAllocator() = default;
  template <class U>
  WorkAllocator(const WorkAllocator<U>&) {}

  static bool fits(std::size_t count) { return count <= kWorkBlock / sizeof(T) && alignof(T) <= alignof(std::max_align_t); }
  T* allocate(std::size_t count) { return fits(count) ? static_cast<T*>(take_work_block()) : std::allocator<T>().allocate(count); }
  void deallocate(T* data, std::size_t count) { fits(count) ? give_work_block(data) : std::allocator<T>().deallocate(data, count); }
  template <class U>
  bool operator==(const WorkAllocator<U>&) const {
    return true;
  }
};

/// The memory of tensors, without their views.
class HeldStorages {
 public:
  explicit HeldStorages(std::vector<Tensor> tensors) {
    std::size_t i = 0;
    for (Tensor& tensor : tensors) {
      if (i < few_.size()) {
        few_[i++] = std::move(tensor.storage);
      } else {
        more_.push_back(std::move(tensor.storage));
      }
    }
  }

 private:
  std::array<StoragePtr, 12> few_;
  std::vector<StoragePtr> more_;
};

/// A callable for a device's queue, in a block of its own: std::function asks the class for memory.
template <class Run>
struct QueuedWork {
  Run run;

  template <class Execution>
  void operator()(Execution& execution) {
    run(execution);
  }

  static constexpr bool kFits = sizeof(Run) <= kWorkBlock && alignof(Run) <= alignof(std::max_align_t);
  static void* operator new(std::size_t bytes) { return kFits ? take_work_block() : ::operator new(bytes); }
  static void* operator new(std::size_t, void* place) { return place; }
  static void operator delete(void* block) { kFits ? give_work_block(block) : ::operator delete(block); }
};

}  // namespace attn
