#pragma once
// What a plan's pieces are: for host and device.

#include <cstdint>

namespace attn::cuda {

/// Keys of one sequence, in tiles of LatentTile::keys. The last piece of a sequence goes on to the sequence's end, wherever that is when the work
/// runs; one behind the end is empty.
struct LatentPiece {
  std::int32_t sequence, first_tile, end_tile;

  static constexpr std::int32_t kOpen = 0x7fffffff;
};

}  // namespace attn::cuda
