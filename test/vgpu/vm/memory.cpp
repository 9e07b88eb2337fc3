#include "memory.h"

#include <cstring>
#include <stdexcept>

namespace vgpu {

constexpr std::uint64_t kAlignment = 256;
constexpr std::uint64_t kPoisoned = 64 << 20;  // larger ones stay zero, so that untouched pages cost nothing
constexpr std::uint64_t kGap = 4096;           // between allocations: a stray index does not land in a neighbour

std::uint64_t GlobalMemory::allocate(std::uint64_t bytes) {
  auto allocation = std::make_unique<GlobalAllocation>();
  allocation->base = next_;
  allocation->bytes = bytes;
  allocation->data.reset(bytes);
  if (bytes <= kPoisoned) std::memset(&allocation->data[0], 0xff, bytes);  // NaN in every float format
  allocation->initialised.reset(bytes);
  next_ += (bytes + kGap + kAlignment - 1) / kAlignment * kAlignment;
  const std::uint64_t base = allocation->base;
  allocations_[base] = std::move(allocation);
  return base;
}

void GlobalMemory::free(std::uint64_t base) {
  last_ = nullptr;
  allocations_.erase(base);
}

GlobalAllocation* GlobalMemory::find(std::uint64_t address) {
  if (last_ != nullptr && address - last_->base < last_->bytes) {
    return last_;
  }
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) {
    return nullptr;
  }
  GlobalAllocation* allocation = (--after)->second.get();
  if (address - allocation->base >= allocation->bytes) {
    return nullptr;
  }
  return last_ = allocation;
}

const GlobalAllocation* GlobalMemory::nearest(std::uint64_t address) const {
  if (allocations_.empty()) {
    return nullptr;
  }
  auto after = allocations_.upper_bound(address);
  return after == allocations_.begin() ? after->second.get() : (--after)->second.get();
}

void GlobalMemory::write(std::uint64_t to, const void* from, std::uint64_t bytes) {
  if (bytes == 0) {
    return;
  }
  GlobalAllocation* allocation = find(to);
  if (allocation == nullptr || bytes > allocation->bytes - (to - allocation->base)) {
    throw std::runtime_error("a copy to memory that was freed or is too small");
  }
  std::memcpy(&allocation->data[to - allocation->base], from, bytes);
  std::memset(&allocation->initialised[to - allocation->base], 1, bytes);
}

void GlobalMemory::read(void* to, std::uint64_t from, std::uint64_t bytes) {
  if (bytes == 0) {
    return;
  }
  GlobalAllocation* allocation = find(from);
  if (allocation == nullptr || bytes > allocation->bytes - (from - allocation->base)) {
    throw std::runtime_error("a copy from memory that was freed or is too small");
  }
  std::memcpy(to, &allocation->data[from - allocation->base], bytes);
}

void GlobalMemory::copy(std::uint64_t to, std::uint64_t from, std::uint64_t bytes) {
  if (bytes == 0) {
    return;
  }
  GlobalAllocation* source = find(from);
  if (source == nullptr || bytes > source->bytes - (from - source->base)) {
    throw std::runtime_error("a copy from memory that was freed or is too small");
  }
  const std::vector<std::uint8_t> states(&source->initialised[from - source->base], &source->initialised[from - source->base] + bytes);
  const std::vector<std::uint8_t> data(&source->data[from - source->base], &source->data[from - source->base] + bytes);
  write(to, data.data(), bytes);
  GlobalAllocation* target = find(to);
  std::memcpy(&target->initialised[to - target->base], states.data(), bytes);
}

}  // namespace vgpu
