// Decoding with split keys (split.cuh) for each tile of tiles.h, and the sum over the splits (combine.cuh).

#include "cuda/kernels/attention_split/combine.cuh"
#include "cuda/kernels/attention_split/split.cuh"

namespace attn::cuda {

#define ATTN_SPLIT_OF(type, dtype, name, rows, cols, ...)                                                          \
  extern "C" __global__ void __launch_bounds__(32 * rows * cols, SplitTile{rows, cols, __VA_ARGS__}.blocks_per_sm) \
      attention_split_##dtype##_##name(const __grid_constant__ SplitParams p) {                                    \
    split_attention<type, SplitTile{rows, cols, __VA_ARGS__}>(p);                                                  \
  }
#define ATTN_SPLIT(...) ATTN_SPLIT_OF(__half, f16, __VA_ARGS__) ATTN_SPLIT_OF(__nv_bfloat16, bf16, __VA_ARGS__)
ATTN_ATTENTION_SPLIT_TILES(ATTN_SPLIT)
#undef ATTN_SPLIT
#undef ATTN_SPLIT_OF

ATTN_COMBINE(attention_split_f16_combine, __half)
ATTN_COMBINE(attention_split_bf16_combine, __nv_bfloat16)

}  // namespace attn::cuda
