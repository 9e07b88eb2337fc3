#pragma once
// The parameter of the sm_90a kernels of mla_decode; shared by host and device.

#include <cuda.h>

#include <cstdint>
#include <type_traits>

#include "cuda/kernels/attention_split/params.h"
#include "cuda/kernels/mla_decode/latent_piece.h"

namespace attn::cuda {

struct LatentParams {
  CUtensorMap latents;         // [page or sequence][row][feature] in boxes of LatentTile; where `tma` says so
  SplitParams split;           // its outs and lses as there, with one kv head
  std::int32_t rows_per_page;  // of the map's second axis: pages hold whole tiles
  // Of a plan (latent_schedule.h), else null: part n has the pieces [part_begins[n], part_begins[n + 1]).
  const std::int32_t* part_begins;
  const LatentPiece* pieces;
  bool tma;  // whole tiles are copied by TMA, what remains row by row
};
static_assert(std::is_trivially_copyable_v<LatentParams> && sizeof(LatentParams) <= 4096, "a kernel parameter is at most 4 KiB");

}  // namespace attn::cuda
