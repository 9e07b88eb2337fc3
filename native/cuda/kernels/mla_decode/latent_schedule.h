#pragma once
// Host: how a plan shares the keys of a batch among the processors.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cuda/kernels/mla_decode/latent_piece.h"
#include "cuda/kernels/mla_decode/latent_tile.h"

namespace attn::cuda {

struct LatentSchedule {
  std::vector<std::int32_t> part_begins;      // [parts + 1] into pieces: what one block walks, after each other
  std::vector<std::int32_t> sequence_begins;  // [batch + 1] into pieces
  std::vector<LatentPiece> pieces;            // by sequence, then by tile; at least one for each
};

/// What a piece costs besides its tiles, in tiles: queries in, partial results out, the pipeline's start.
inline constexpr std::int64_t kPieceCost = 5;

inline std::int64_t latent_tiles(std::int32_t kv_len) { return (std::max<std::int64_t>(kv_len, 0) + LatentTile::keys - 1) / LatentTile::keys; }

/// Cuts the sequences, one behind the other, so that no part costs more than `share`, unless it is a single tile.
inline LatentSchedule cut_latents(const std::vector<std::int32_t>& kv_lens, std::int64_t share) {
  LatentSchedule schedule;
  schedule.part_begins = {0};
  std::int64_t used = 0;
  const auto end_part = [&] {
    schedule.part_begins.push_back(static_cast<std::int32_t>(schedule.pieces.size()));
    used = 0;
  };
  for (std::size_t b = 0; b < kv_lens.size(); ++b) {
    schedule.sequence_begins.push_back(static_cast<std::int32_t>(schedule.pieces.size()));
    const std::int64_t tiles = latent_tiles(kv_lens[b]);
    std::int64_t first = 0;
    do {
      // A piece of fewer tiles than it costs besides is not worth a cut.
      if (used > 0 && used + kPieceCost + std::min(tiles - first, kPieceCost) > share) end_part();
      const std::int64_t end = std::min(tiles, first + std::max<std::int64_t>(share - used - kPieceCost, 1));
      schedule.pieces.push_back(
          {static_cast<std::int32_t>(b), static_cast<std::int32_t>(first), end == tiles ? LatentPiece::kOpen : static_cast<std::int32_t>(end)});
      used += end - first + kPieceCost;
      first = end;
    } while (first < tiles);
  }
  schedule.sequence_begins.push_back(static_cast<std::int32_t>(schedule.pieces.size()));
  end_part();
  return schedule;
}

/// Into at most so many parts of like cost. Depends on nothing but its arguments.
inline LatentSchedule schedule_latents(const std::vector<std::int32_t>& kv_lens, std::int64_t parts) {
  std::int64_t cost = 0;
  for (const std::int32_t len : kv_lens) cost += latent_tiles(len) + kPieceCost;
  // Cuts make pieces, which cost something, and parts end where a cut is not worth it: a share may have to be a little more than its part of all.
  for (std::int64_t share = (cost + parts - 1) / parts;; ++share) {
    LatentSchedule schedule = cut_latents(kv_lens, share);
    if (static_cast<std::int64_t>(schedule.part_begins.size()) - 1 <= parts) return schedule;
  }
}

}  // namespace attn::cuda
