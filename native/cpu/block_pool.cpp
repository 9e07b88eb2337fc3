#include "cpu/block_pool.h"

#include <cstdlib>

#include "cpu/pages.h"

namespace attn::cpu {
namespace {

constexpr std::size_t kAlignment = 64;
/// Smaller ones the C library keeps itself.
constexpr std::size_t kSmallest = std::size_t{128} << 10;

/// Sizes in steps of an eighth, so that a block serves neighbours of its size too.
std::size_t rounded(std::size_t bytes) {
  if (bytes < kSmallest) return bytes < kAlignment ? kAlignment : (bytes + kAlignment - 1) / kAlignment * kAlignment;
  std::size_t step = kSmallest / 8;
  while (step * 16 <= bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

void* from_system(std::size_t bytes) {
  if (bytes < 2 * kLargePage) return std::aligned_alloc(kAlignment, bytes);
  // Fewer pages to be cleared one by one, fewer addresses to translate.
  const std::size_t whole = (bytes + kLargePage - 1) / kLargePage * kLargePage;
  void* data = std::aligned_alloc(kLargePage, whole);
  if (data) wish_large_pages(static_cast<std::byte*>(data), static_cast<std::int64_t>(whole));
  return data;
}

}  // namespace

void* BlockPool::allocate(std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  if (size >= kSmallest) {
    std::lock_guard lock(mutex_);
    for (std::size_t i = blocks_.size(); i-- > 0;) {
      if (blocks_[i].bytes != size) continue;
      void* data = blocks_[i].data;
      blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(i));
      kept_ -= size;
      return data;
    }
  }
  if (void* data = from_system(size)) return data;
  drop();
  return from_system(size);
}

void BlockPool::release(void* data, std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  if (size < kSmallest || size > most_kept_) return std::free(data);
  std::lock_guard lock(mutex_);
  blocks_.push_back({data, size});
  kept_ += size;
  std::size_t oldest = 0;
  for (; kept_ > most_kept_; ++oldest) {
    std::free(blocks_[oldest].data);
    kept_ -= blocks_[oldest].bytes;
  }
  blocks_.erase(blocks_.begin(), blocks_.begin() + static_cast<std::ptrdiff_t>(oldest));
}

void BlockPool::drop() {
  std::lock_guard lock(mutex_);
  for (const Block& block : blocks_) std::free(block.data);
  blocks_.clear();
  kept_ = 0;
}

std::size_t BlockPool::kept() const {
  std::lock_guard lock(mutex_);
  return kept_;
}

}  // namespace attn::cpu
