// Absorbed MLA: attention over latent rows that are keys and values at once, by the split-KV kernel (../attention_split/split.cuh).

#include "cuda/kernels/attention_split/combine.cuh"
#include "cuda/kernels/attention_split/split.cuh"

namespace attn::cuda {

#define ATTN_SPLIT_OF(type, dtype, name, rows, cols, ...)                                                          \
  extern "C" __global__ void __launch_bounds__(32 * rows * cols, SplitTile{rows, cols, __VA_ARGS__}.blocks_per_sm) \
      mla_decode_##dtype##_##name(const __grid_constant__ SplitParams p) {                                         \
    split_attention<type, SplitTile{rows, cols, __VA_ARGS__}>(p);                                                  \
  }
#define ATTN_SPLIT(...) ATTN_SPLIT_OF(__half, f16, __VA_ARGS__) ATTN_SPLIT_OF(__nv_bfloat16, bf16, __VA_ARGS__)
ATTN_MLA_DECODE_TILES(ATTN_SPLIT)
#undef ATTN_SPLIT
#undef ATTN_SPLIT_OF

ATTN_COMBINE(mla_decode_f16_combine, __half)
ATTN_COMBINE(mla_decode_bf16_combine, __nv_bfloat16)

}  // namespace attn::cuda
