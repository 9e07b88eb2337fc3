#pragma once
// The layout of a latent row in float8_e4m3, for host and device.

#include <cstdint>

namespace attn {

/// One token: the latent as float8_e4m3, the scales of its four groups as float32, the rope key as bfloat16. Pages of such rows are a contiguous
/// tensor float8_e4m3 [num_pages, page_size, 656] whose memory begins at a multiple of 16 bytes, so that every row and part of it does.
struct LatentRow {
  static constexpr int kLatentDim = 512, kRopeDim = 64, kGroupDim = 128, kGroups = kLatentDim / kGroupDim;
  static constexpr int kScalesAt = kLatentDim;                                                 // bytes, as below
  static constexpr int kRopeAt = kScalesAt + kGroups * static_cast<int>(sizeof(float));        // 528
  static constexpr int kBytes = kRopeAt + kRopeDim * static_cast<int>(sizeof(std::uint16_t));  // 656
};
static_assert(LatentRow::kBytes == 656 && LatentRow::kBytes % 16 == 0);

}  // namespace attn
