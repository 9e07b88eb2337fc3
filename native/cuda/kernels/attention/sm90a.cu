// The attention kernels of compute capability 9.0, by element type and head dims.

#include "cuda/kernels/attention/prefill.cuh"

namespace attn::cuda {

#define ATTN_PREFILL(name, T, shape)                                                                                                           \
  extern "C" __global__ void __launch_bounds__(prefill_threads(kPrefillShapes[shape]), 1)                                                      \
      attention_prefill_##name(const __grid_constant__ PrefillParams params) {                                                                 \
    attention_prefill<T, kPrefillShapes[shape]>(params);                                                                                                       \
  }
ATTN_PREFILL(f16_64, __half, 0)
ATTN_PREFILL(f16_128, __half, 1)
ATTN_PREFILL(f16_192_128, __half, 2)
ATTN_PREFILL(f16_256, __half, 3)
ATTN_PREFILL(bf16_64, __nv_bfloat16, 0)
ATTN_PREFILL(bf16_128, __nv_bfloat16, 1)
ATTN_PREFILL(bf16_192_128, __nv_bfloat16, 2)
ATTN_PREFILL(bf16_256, __nv_bfloat16, 3)

}  // namespace attn::cuda
