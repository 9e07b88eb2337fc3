#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

namespace attn::cpu {

/// Memory in blocks that are used again. The system hands out large blocks as pages to be cleared one by one when they are first touched, which for
/// the outputs of a prefill takes longer than a tenth of its arithmetic; so some of what was given back is kept.
class BlockPool {
 public:
  /// Keeps at most so many bytes.
  explicit BlockPool(std::size_t most_kept) : most_kept_(most_kept) {}
  ~BlockPool() { drop(); }
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  /// 64-byte aligned and not cleared; null when there is no memory.
  void* allocate(std::size_t bytes);
  /// `bytes` as they were asked for.
  void release(void* data, std::size_t bytes);
  /// Gives what is kept to the system.
  void drop();
  std::size_t kept() const;

 private:
  struct Block {
    void* data;
    std::size_t bytes;
  };
  mutable std::mutex mutex_;
  std::vector<Block> blocks_;  // the latest last
  std::size_t most_kept_, kept_ = 0;
};

}  // namespace attn::cpu
