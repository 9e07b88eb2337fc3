// Device memory: allocations at addresses that are never used again, each byte with its state.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "mapped.h"

namespace vgpu {

struct GlobalAllocation {
  std::uint64_t base = 0;
  std::uint64_t bytes = 0;
  Mapped<std::uint8_t> data;
  Mapped<std::uint8_t> initialised;  // per byte
  // Of the launch that runs: who wrote each byte (0: nobody, else block + 1) in which epoch of it, and what was touched.
  Mapped<std::uint32_t> writer;
  Mapped<std::uint32_t> writer_epoch;
  Mapped<std::uint32_t> reader;  // the last block that read each byte, + 1, and its epoch then
  Mapped<std::uint32_t> reader_epoch;
  Mapped<std::uint8_t> touched;  // bit 0 loaded, bit 1 stored
};

class GlobalMemory {
 public:
  /// `device` keeps the addresses of several devices apart.
  explicit GlobalMemory(int device = 0) : next_((std::uint64_t{1} << 40) * static_cast<std::uint64_t>(device + 1)) {}

  std::uint64_t allocate(std::uint64_t bytes);
  void free(std::uint64_t base);
  /// The ranges must lie inside one allocation.
  void write(std::uint64_t to, const void* from, std::uint64_t bytes);
  void read(void* to, std::uint64_t from, std::uint64_t bytes);
  void copy(std::uint64_t to, std::uint64_t from, std::uint64_t bytes);

  /// The allocation `address` lies in, or null.
  GlobalAllocation* find(std::uint64_t address);
  /// The allocation that ends nearest below or begins nearest above, for reports; null when there is none.
  const GlobalAllocation* nearest(std::uint64_t address) const;
  std::map<std::uint64_t, std::unique_ptr<GlobalAllocation>>& all() { return allocations_; }

 private:
  std::map<std::uint64_t, std::unique_ptr<GlobalAllocation>> allocations_;
  std::uint64_t next_;
  GlobalAllocation* last_ = nullptr;
};

}  // namespace vgpu
