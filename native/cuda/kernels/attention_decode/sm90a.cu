// Decoding on sm_90a (decode.cuh) for each tile of tiles.h, and the sum over the splits (attention_split/combine.cuh).

#include "cuda/kernels/attention_decode/decode.cuh"
#include "cuda/kernels/attention_split/combine.cuh"

namespace attn::cuda {

#define ATTN_DECODE_OF(kv, dtype, products, name, ...)                                                      \
  extern "C" __global__ void __launch_bounds__(DecodeTile::kThreads, DecodeTile{__VA_ARGS__}.blocks_per_sm) \
      attention_decode_##dtype##_##name(const __grid_constant__ DecodeParams p) {                           \
    decode<kv, products, DecodeTile{__VA_ARGS__}>(p);                                                       \
  }
#define ATTN_DECODE_16(name, ...)                                                                        \
  ATTN_DECODE_OF(__half, f16, ATTN_LIST(Products16<__half, DecodeTile{__VA_ARGS__}>), name, __VA_ARGS__) \
  ATTN_DECODE_OF(__nv_bfloat16, bf16, ATTN_LIST(Products16<__nv_bfloat16, DecodeTile{__VA_ARGS__}>), name, __VA_ARGS__)
#define ATTN_DECODE_8(name, ...) ATTN_DECODE_OF(e4m3, e4m3, ATTN_LIST(ProductsE4m3<DecodeTile{__VA_ARGS__}>), name, __VA_ARGS__)
#define ATTN_LIST(...) __VA_ARGS__
ATTN_DECODE_TILES_16(ATTN_DECODE_16)
ATTN_DECODE_TILES_8(ATTN_DECODE_8)
#undef ATTN_LIST
#undef ATTN_DECODE_16
#undef ATTN_DECODE_8
#undef ATTN_DECODE_OF

ATTN_COMBINE(attention_decode_f16_combine, __half, wait_for_previous_kernel())
ATTN_COMBINE(attention_decode_bf16_combine, __nv_bfloat16, wait_for_previous_kernel())

}  // namespace attn::cuda
