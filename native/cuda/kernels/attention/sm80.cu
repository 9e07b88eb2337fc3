// The attention kernels of sm_80 and newer, by element type (and head dims: the tile kernel's suffix).

#include "cuda/kernels/attention/plain.cuh"
#include "cuda/kernels/attention/tile.cuh"

namespace attn::cuda {

#define ATTN_PLAIN(name, T)                                                                                                                      \
  extern "C" __global__ void __launch_bounds__(kPlainRows * 32, 4) attention_plain_##name(const __grid_constant__ AttentionPlainParams params) { \
    attention_plain<T>(params);                                                                                                                  \
  }
ATTN_PLAIN(f32, float)
ATTN_PLAIN(f16, __half)
ATTN_PLAIN(bf16, __nv_bfloat16)
ATTN_PLAIN(e4m3, e4m3)

#define ATTN_TILE(name, T, shape)                                                                                                           \
  extern "C" __global__ void __launch_bounds__(kTileWarps * 32) attention_tile_##name(const __grid_constant__ AttentionTileParams params) { \
    attention_tile<T, shape>(params);                                                                                                       \
  }
ATTN_TILE(f16_64, __half, 0)
ATTN_TILE(f16_128, __half, 1)
ATTN_TILE(f16_192_128, __half, 2)
ATTN_TILE(f16_256, __half, 3)
ATTN_TILE(bf16_64, __nv_bfloat16, 0)
ATTN_TILE(bf16_128, __nv_bfloat16, 1)
ATTN_TILE(bf16_192_128, __nv_bfloat16, 2)
ATTN_TILE(bf16_256, __nv_bfloat16, 3)

}  // namespace attn::cuda
