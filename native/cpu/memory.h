#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/backend.h"
#include "cpu/block_pool.h"

namespace attn::cpu {

/// Host memory with the counters behind devices.memory(). Bytes are counted while they are in use; what is kept for later is not.
class Memory {
 public:
  Memory();
  /// 64-byte aligned. Throws kOutOfMemory when the machine (or the control group that this process lives in) lacks them.
  std::byte* allocate(std::int64_t bytes);
  void release(std::byte* data, std::int64_t bytes);
  void count_tensor(int delta) { tensors_.fetch_add(delta, std::memory_order_relaxed); }
  void count_bytes(std::int64_t delta);
  MemoryUse use() const;

 private:
  BlockPool pool_;
  std::atomic<std::int64_t> tensors_{0}, bytes_{0}, peak_{0};
};

std::int64_t total_memory();
/// What could be allocated now without swapping, as far as the system tells.
std::int64_t available_memory();

}  // namespace attn::cpu
