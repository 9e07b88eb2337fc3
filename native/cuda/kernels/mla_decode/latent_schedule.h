#pragma once
// How a plan shares the keys of a batch among the processors: for host and device.

#include <cstdint>
#include <vector>

namespace attn::cuda {

/// Keys of one sequence, in tiles of LatentTile::keys. The last piece of a sequence goes on to the sequence's end, wherever that is when the work
/// runs; one behind the end is empty.
struct LatentPiece {
  std::int32_t sequence, first_tile, end_tile;

  static constexpr std::int32_t kOpen = 0x7fffffff;
};

struct LatentSchedule {
  std::vector<std::int32_t> part_begins;      // [parts + 1] into pieces: what one block walks, after each other
  std::vector<std::int32_t> sequence_begins;  // [batch + 1] into pieces
  std::vector<LatentPiece> pieces;            // by sequence, then by tile; at least one for each
};

/// What a piece costs besides its tiles, in tiles: queries in, partial results out, the pipeline's start.
inline constexpr std::int64_t kPieceCost = 5;

/// Cuts the sequences, one behind the other, so that no part costs more than its share and as few as possible are cut. Depends on nothing but
/// its arguments.
LatentSchedule schedule_latents(const std::vector<std::int32_t>& kv_lens, std::int64_t parts);

}  // namespace attn::cuda
