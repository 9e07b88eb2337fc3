// The attention kernels of compute capability 9.0, by element type and head dims.

#include "cuda/kernels/attention/prefill.cuh"

namespace attn::cuda {

#define ATTN_PREFILL(name, T, shapes, index)                                                                                                           \
  extern "C" __global__ void __launch_bounds__(prefill_threads(shapes[index]), 1)                                                      \
      attention_prefill_##name(const __grid_constant__ PrefillParams params) {                                                                 \
    attention_prefill<T, shapes[index]>(params);                                                                                                       \
  }
ATTN_PREFILL(f16_64, __half, kPrefillShapes, 0)
ATTN_PREFILL(f16_96, __half, kPrefillShapes, 1)
ATTN_PREFILL(f16_128, __half, kPrefillShapes, 2)
ATTN_PREFILL(f16_192_128, __half, kPrefillShapes, 3)
ATTN_PREFILL(f16_256, __half, kPrefillShapes, 4)
ATTN_PREFILL(bf16_64, __nv_bfloat16, kPrefillShapes, 0)
ATTN_PREFILL(bf16_96, __nv_bfloat16, kPrefillShapes, 1)
ATTN_PREFILL(bf16_128, __nv_bfloat16, kPrefillShapes, 2)
ATTN_PREFILL(bf16_192_128, __nv_bfloat16, kPrefillShapes, 3)
ATTN_PREFILL(bf16_256, __nv_bfloat16, kPrefillShapes, 4)
ATTN_PREFILL(e4m3_64, e4m3, kPrefillByteShapes, 0)
ATTN_PREFILL(e4m3_128, e4m3, kPrefillByteShapes, 1)
ATTN_PREFILL(e4m3_256, e4m3, kPrefillByteShapes, 2)

}  // namespace attn::cuda
