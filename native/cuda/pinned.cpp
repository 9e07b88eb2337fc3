#include "cuda/pinned.h"

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cuda/device.h"

namespace attn::cuda {
namespace {

constexpr std::size_t kSmallest = 4096;
/// Blocks beyond this are given back at once: page-locked memory is taken from everybody.
constexpr std::size_t kLargestKept = std::size_t{16} << 20;
constexpr std::size_t kKeptPerSize = 4;

struct Kept {
  std::mutex mutex;
  std::map<std::pair<int, std::size_t>, std::vector<void*>> blocks;  // by device and size, a power of two
};

Kept& kept() {
  static Kept* kept = new Kept;  // leaked: completions run until the process ends
  return *kept;
}

void give_back(void* block, int device, std::size_t size) {
  {
    std::lock_guard lock(kept().mutex);
    std::vector<void*>& same = kept().blocks[{device, size}];
    if (size <= kLargestKept && same.size() < kKeptPerSize) return same.push_back(block);
  }
  driver().cuMemFreeHost(block);
}

}  // namespace

std::shared_ptr<std::byte> pinned_memory(std::size_t bytes) {
  const int device = current_device();
  std::size_t size = kSmallest;
  while (size < bytes) size *= 2;
  void* block = nullptr;
  {
    std::lock_guard lock(kept().mutex);
    std::vector<void*>& same = kept().blocks[{device, size}];
    if (!same.empty()) {
      block = same.back();
      same.pop_back();
    }
  }
  if (!block) {
    const CUresult result = driver().cuMemHostAlloc(&block, size, 0);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) {
      Error error(ErrorCode::kOutOfMemory,
                  "cuda:" + std::to_string(device) + ": no page-locked memory for a copy of " + std::to_string(bytes) + " bytes to the host");
      error.requested = static_cast<double>(bytes);
      throw error;
    }
    check(result, "cuMemHostAlloc");
  }
  return {static_cast<std::byte*>(block), [device, size](std::byte* data) { give_back(data, device, size); }};
}

}  // namespace attn::cuda
