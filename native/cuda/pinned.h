#pragma once

#include <cstddef>
#include <memory>

namespace attn::cuda {

/// Page-locked memory of the host, which the current device writes to while the host goes on. Kept for the next one when it is let go.
/// Throws Error (kOutOfMemory).
std::shared_ptr<std::byte> pinned_memory(std::size_t bytes);

}  // namespace attn::cuda
