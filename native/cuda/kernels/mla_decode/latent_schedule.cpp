#include "cuda/kernels/mla_decode/latent_schedule.h"

#include <algorithm>

#include "cuda/kernels/mla_decode/latent_tile.h"

namespace attn::cuda {
namespace {

std::int64_t tiles_of(std::int32_t kv_len) { return (std::max<std::int64_t>(kv_len, 0) + LatentTile::keys - 1) / LatentTile::keys; }

}  // namespace

LatentSchedule schedule_latents(const std::vector<std::int32_t>& kv_lens, std::int64_t parts) {
  std::int64_t cost = 0;
  for (const std::int32_t len : kv_lens) cost += tiles_of(len) + kPieceCost;
  // A cut makes a piece more, at most one for each part.
  const std::int64_t share = (cost + parts - 1) / parts + kPieceCost;

  LatentSchedule schedule;
  schedule.part_begins = {0};
  std::int64_t used = 0;
  const auto next_part = [&] {
    schedule.part_begins.push_back(static_cast<std::int32_t>(schedule.pieces.size()));
    used = 0;
  };
  for (std::size_t b = 0; b < kv_lens.size(); ++b) {
    schedule.sequence_begins.push_back(static_cast<std::int32_t>(schedule.pieces.size()));
    const std::int64_t tiles = tiles_of(kv_lens[b]);
    std::int64_t first = 0;
    do {
      // A piece of no more tiles than it costs besides is not worth a cut.
      if (used > 0 && used + kPieceCost + std::min(tiles - first, kPieceCost) > share) next_part();
      const std::int64_t end = std::min(tiles, first + std::max<std::int64_t>(share - used - kPieceCost, 1));
      schedule.pieces.push_back({static_cast<std::int32_t>(b), static_cast<std::int32_t>(first), end == tiles ? LatentPiece::kOpen : static_cast<std::int32_t>(end)});
      used += end - first + kPieceCost;
      first = end;
    } while (first < tiles);
  }
  schedule.sequence_begins.push_back(static_cast<std::int32_t>(schedule.pieces.size()));
  schedule.part_begins.push_back(static_cast<std::int32_t>(schedule.pieces.size()));
  return schedule;
}

}  // namespace attn::cuda
