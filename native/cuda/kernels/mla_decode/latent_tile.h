#pragma once
// The tile of the sm_90a kernel and what lies where in its shared memory: for host and device.

#include <cstdint>

namespace attn::cuda {

/// A block takes 64 query rows and 64 latent rows of 512 + 64 features at a time. 64 features of 64 rows are a box: 128 bytes a row, as TMA
/// swizzles it and wgmma reads it.
struct LatentTile {
  static constexpr int rows = 64, keys = 64;
  static constexpr int rank = 512, rope = 64, row_width = rank + rope;
  static constexpr int box_features = 64, box_bytes = 64 * 128, boxes = row_width / box_features;
  static constexpr int rope_box = boxes - 1, half_boxes = rank / box_features / 2;
  static constexpr int tile_bytes = boxes * box_bytes;
  static constexpr int stages = 2;

  static constexpr int producers = 128, consumers = 256, threads = producers + consumers;
  // Per thread: 128 · 72 + 256 · 216 is all that the block was launched with, and the launch gives each thread 168.
  static constexpr int producer_registers = 72, consumer_registers = 216;

  // Bytes from the start, which is a multiple of 1024.
  static constexpr int queries_at = 0;
  static constexpr int ring_at = queries_at + tile_bytes;
  static constexpr int probabilities_at = ring_at + stages * tile_bytes;
  static constexpr int row_max_at = probabilities_at + box_bytes;
  static constexpr int row_factor_at = row_max_at + rows * 4;
  static constexpr int row_sum_at = row_factor_at + rows * 4;    // of each consumer warpgroup
  static constexpr int full_at = row_sum_at + 2 * rows * 4;      // a barrier per box
  static constexpr int empty_at = full_at + stages * boxes * 8;  // per stage: left half of the latent, right half, rope
  static constexpr int shared_bytes = empty_at + stages * 3 * 8;
};
static_assert(LatentTile::producers * LatentTile::producer_registers + LatentTile::consumers * LatentTile::consumer_registers <= LatentTile::threads * 168);
static_assert(LatentTile::shared_bytes <= 227 * 1024, "what a block of compute capability 9.0 may have");

}  // namespace attn::cuda
