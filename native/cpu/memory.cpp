#include "cpu/memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>

#include "core/error.h"

namespace attn::cpu {
namespace {

/// Kept for later, of the memory that there is: a share, and no more than so much.
constexpr std::int64_t kKeptShare = 32, kMostKept = std::int64_t{512} << 20;
// Below this an allocation is not worth a look at the system's counters (reading them costs tens of microseconds).
constexpr std::int64_t kWorthChecking = std::int64_t{64} << 20;

/// The first number of a small system file, or -1.
std::int64_t read_number(const char* path) {
  std::FILE* file = std::fopen(path, "r");
  if (!file) return -1;
  long long value = -1;
  if (std::fscanf(file, "%lld", &value) != 1) value = -1;
  std::fclose(file);
  return value;
}

std::int64_t meminfo(const char* key) {
  std::FILE* file = std::fopen("/proc/meminfo", "r");
  if (!file) return -1;
  char line[128];
  long long kib = -1;
  const std::size_t length = std::strlen(key);
  while (std::fgets(line, sizeof line, file)) {
    if (std::strncmp(line, key, length) == 0 && line[length] == ':') {
      std::sscanf(line + length + 1, "%lld", &kib);
      break;
    }
  }
  std::fclose(file);
  return kib < 0 ? -1 : kib * 1024;
}

[[noreturn]] void fail_allocation(std::int64_t bytes, std::int64_t available) {
  Error error(ErrorCode::kOutOfMemory, "cpu: out of memory: " + std::to_string(bytes) + " bytes requested, " + std::to_string(available) + " available");
  error.requested = static_cast<double>(bytes);
  error.available = static_cast<double>(available);
  throw error;
}

}  // namespace

std::int64_t total_memory() {
  std::int64_t total = meminfo("MemTotal");
  if (total < 0) total = static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  const std::int64_t limit = read_number("/sys/fs/cgroup/memory.max");
  return limit > 0 ? std::min(total, limit) : total;
}

std::int64_t available_memory() {
  std::int64_t available = meminfo("MemAvailable");
  if (available < 0) available = total_memory();
  const std::int64_t limit = read_number("/sys/fs/cgroup/memory.max"), used = read_number("/sys/fs/cgroup/memory.current");
  // A group's use includes file cache that the kernel would give up, so this is a lower bound; never below a small rest.
  return limit > 0 && used >= 0 ? std::min(available, std::max<std::int64_t>(limit - used, 0)) : available;
}

Memory::Memory() : pool_(static_cast<std::size_t>(std::min(total_memory() / kKeptShare, kMostKept))) {}

std::byte* Memory::allocate(std::int64_t bytes) {
  if (bytes > std::numeric_limits<std::int64_t>::max() / 2) fail_allocation(bytes, available_memory());
  if (bytes >= kWorthChecking) {
    std::int64_t available = available_memory();
    if (bytes > available + static_cast<std::int64_t>(pool_.kept())) fail_allocation(bytes, available);
    if (bytes > available) pool_.drop();
  }
  void* data = pool_.allocate(static_cast<std::size_t>(bytes));
  if (!data) fail_allocation(bytes, available_memory());
  count_bytes(bytes);
  return static_cast<std::byte*>(data);
}

void Memory::release(std::byte* data, std::int64_t bytes) {
  pool_.release(data, static_cast<std::size_t>(bytes));
  count_bytes(-bytes);
}

void Memory::count_bytes(std::int64_t delta) {
  const std::int64_t now = bytes_.fetch_add(delta, std::memory_order_relaxed) + delta;
  std::int64_t peak = peak_.load(std::memory_order_relaxed);
  while (now > peak && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

MemoryUse Memory::use() const { return {tensors_.load(), bytes_.load(), peak_.load()}; }

}  // namespace attn::cpu
