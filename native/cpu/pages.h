#pragma once

#include <cstddef>
#include <cstdint>

namespace attn::cpu {

/// Has the system provide and clear the pages of memory that is written next, where it has not yet. One by one, as each is touched, takes twice as
/// long, which is several times the copy. Memory and what lies in it stay as they are; where the system cannot, nothing happens.
void provide_pages(std::byte* data, std::int64_t bytes);

/// Asks for pages of 2 MiB for the part of the memory that such pages fill.
void wish_large_pages(std::byte* data, std::int64_t bytes);

/// From this size on memory lies on such pages, where the system has them.
inline constexpr std::size_t kLargePage = std::size_t{2} << 20;

}  // namespace attn::cpu
