// Absorbed MLA: attention over latent rows that are keys and values at once, by the split-KV kernel (../attention_split/split.cuh).

#include "cuda/kernels/attention_split/combine.cuh"

namespace attn::cuda {

#define ATTN_SPLIT(name, rows, cols, keys, stages, qk, vo, shared_kv, blocks)                                                                                       \
  extern "C" __global__ void __launch_bounds__(32 * rows * cols, blocks) mla_decode_f16_##name(const __grid_constant__ SplitParams p) {                         \
    split_attention<__half, SplitTile{rows, cols, keys, stages, qk, vo, shared_kv, blocks}>(p);                                                                      \
  }                                                                                                                                                                  \
  extern "C" __global__ void __launch_bounds__(32 * rows * cols, blocks) mla_decode_bf16_##name(const __grid_constant__ SplitParams p) {                        \
    split_attention<__nv_bfloat16, SplitTile{rows, cols, keys, stages, qk, vo, shared_kv, blocks}>(p);                                                               \
  }
ATTN_MLA_DECODE_TILES(ATTN_SPLIT)
#undef ATTN_SPLIT

extern "C" __global__ void __launch_bounds__(kCombineThreads) mla_decode_f16_combine(const __grid_constant__ SplitParams p) { combine_splits<__half>(p); }
extern "C" __global__ void __launch_bounds__(kCombineThreads) mla_decode_bf16_combine(const __grid_constant__ SplitParams p) {
  combine_splits<__nv_bfloat16>(p);
}

}  // namespace attn::cuda
