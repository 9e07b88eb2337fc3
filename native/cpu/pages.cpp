#include "cpu/pages.h"

#include <sys/mman.h>

namespace attn::cpu {
namespace {

constexpr std::uintptr_t kPage = 4096;  // where a system's are larger it refuses, or takes what is around too
/// The call takes as long as touching a few pages.
constexpr std::int64_t kFewBytes = 32 << 10;

#if defined(__linux__) && !defined(MADV_POPULATE_WRITE)
#define MADV_POPULATE_WRITE 23  // Linux 5.14; older ones refuse it
#endif

}  // namespace

void provide_pages([[maybe_unused]] std::byte* data, [[maybe_unused]] std::int64_t bytes) {
#ifdef MADV_POPULATE_WRITE
  if (bytes < kFewBytes) return;
  // Pages that begin within: of a list of adjacent spans every page but the first one is provided once.
  const auto begin = (reinterpret_cast<std::uintptr_t>(data) + kPage - 1) / kPage * kPage;
  const auto end = (reinterpret_cast<std::uintptr_t>(data) + static_cast<std::uintptr_t>(bytes) + kPage - 1) / kPage * kPage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_WRITE);
#endif
}

void wish_large_pages([[maybe_unused]] std::byte* data, [[maybe_unused]] std::int64_t bytes) {
#ifdef MADV_HUGEPAGE
  const auto begin = (reinterpret_cast<std::uintptr_t>(data) + kLargePage - 1) / kLargePage * kLargePage;
  const auto end = (reinterpret_cast<std::uintptr_t>(data) + static_cast<std::uintptr_t>(bytes)) / kLargePage * kLargePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace attn::cpu
