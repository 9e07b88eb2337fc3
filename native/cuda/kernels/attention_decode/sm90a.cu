// Decoding on sm_90a (decode.cuh) for each tile of tiles.h, and the sum over the splits (attention_split/combine.cuh).

#include "cuda/kernels/attention_decode/decode.cuh"
#include "cuda/kernels/attention_split/combine.cuh"

namespace attn::cuda {

#define ATTN_DECODE_OF(type, kv, products, dtype, name, ...)                                                \
  extern "C" __global__ void __launch_bounds__(DecodeTile::kThreads, DecodeTile{__VA_ARGS__}.blocks_per_sm) \
      attention_decode_##dtype##_##name(const __grid_constant__ DecodeParams p) {                           \
    decode<kv, products<type, DecodeTile{__VA_ARGS__}>, DecodeTile{__VA_ARGS__}>(p);                        \
  }
#define ATTN_DECODE_16(...)                                    \
  ATTN_DECODE_OF(__half, __half, Products16, f16, __VA_ARGS__) \
  ATTN_DECODE_OF(__nv_bfloat16, __nv_bfloat16, Products16, bf16, __VA_ARGS__)
#define ATTN_DECODE_8(...)                                     \
  ATTN_DECODE_OF(__half, e4m3, ProductsE4m3, f16, __VA_ARGS__) \
  ATTN_DECODE_OF(__nv_bfloat16, e4m3, ProductsE4m3, bf16, __VA_ARGS__)
ATTN_DECODE_TILES_16(ATTN_DECODE_16)
ATTN_DECODE_TILES_8(ATTN_DECODE_8)
#undef ATTN_DECODE_16
#undef ATTN_DECODE_8
#undef ATTN_DECODE_OF

#define ATTN_COMBINE(type, dtype)                                                                                                           \
  extern "C" __global__ void __launch_bounds__(kCombineThreads) attention_decode_##dtype##_combine(const __grid_constant__ SplitParams p) { \
    wait_for_previous_kernel();                                                                                                             \
    combine_splits<type>(p);                                                                                                                \
  }
ATTN_COMBINE(__half, f16)
ATTN_COMBINE(__nv_bfloat16, bf16)
#undef ATTN_COMBINE

}  // namespace attn::cuda
