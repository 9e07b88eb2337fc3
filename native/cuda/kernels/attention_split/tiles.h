#pragma once
// The tiles that the split-KV kernels are compiled for: one list for host and device.

#include <cstdint>

namespace attn::cuda {

struct SplitTile {
  int row_warps;  // 16 query rows each
  int col_warps;  // share the tile's keys while scoring, and the value features while summing
  int keys;       // of one step
  int stages;     // of the copy ring
  int dim_qk, dim_vo;
  bool values_in_keys = false;
  int blocks_per_sm = 1;  // that the registers are limited for

  constexpr int rows() const { return 16 * row_warps; }
  constexpr int threads() const { return 32 * row_warps * col_warps; }
  constexpr int query_bytes() const { return rows() * dim_qk * 2; }
  constexpr int key_bytes() const { return keys * dim_qk * 2; }
  constexpr int stage_bytes() const { return key_bytes() + (values_in_keys ? 0 : keys * dim_vo * 2); }
  /// Eight more floats per row than keys: the rows of a quarter-warp's pairs then start in different banks.
  constexpr int score_stride() const { return keys + 8; }
  constexpr int score_bytes() const { return rows() * score_stride() * 4; }
  constexpr int offset_bytes() const { return stages * keys * 16; }
  constexpr int shared_bytes() const { return query_bytes() + stages * stage_bytes() + score_bytes() + offset_bytes(); }
};

// Every tile fits the 99 KiB of sm_86 and sm_89; two blocks of 16 rows fit the 163 KiB of sm_80.
//   name, row warps, column warps, keys, stages, q·k features, value features
#define ATTN_ATTENTION_SPLIT_TILES(X)          \
  X(d64_r16, 1, 4, 64, 3, 64, 64, false, 2)    \
  X(d64_r64, 4, 2, 64, 2, 64, 64, false, 1)    \
  X(d128_r16, 1, 4, 64, 2, 128, 128, false, 2) \
  X(d128_r64, 4, 2, 32, 3, 128, 128, false, 1) \
  X(d192_r16, 1, 4, 32, 3, 192, 128, false, 2) \
  X(d192_r64, 4, 2, 32, 2, 192, 128, false, 1) \
  X(d256_r16, 1, 4, 32, 2, 256, 256, false, 2) \
  X(d256_r64, 4, 2, 16, 3, 256, 256, false, 1)

// Latent rows are keys and values at once. r64 needs the 163 KiB of sm_80 and sm_90; r32 and r16 fit 99 KiB.
#define ATTN_MLA_DECODE_TILES(X)         \
  X(r64, 4, 2, 32, 2, 576, 512, true, 1) \
  X(r32, 2, 2, 16, 3, 576, 512, true, 1) \
  X(r16, 1, 4, 32, 2, 576, 512, true, 1)

}  // namespace attn::cuda
