// The attention kernels of sm_80 and newer: one entry per element type of keys and values.

#include "cuda/kernels/attention/plain.cuh"

namespace attn::cuda {

extern "C" __global__ void __launch_bounds__(kPlainRows * 32, 4) attention_plain_f32(const __grid_constant__ AttentionPlainParams params) {
  attention_plain<float>(params);
}
extern "C" __global__ void __launch_bounds__(kPlainRows * 32, 4) attention_plain_f16(const __grid_constant__ AttentionPlainParams params) {
  attention_plain<__half>(params);
}
extern "C" __global__ void __launch_bounds__(kPlainRows * 32, 4) attention_plain_bf16(const __grid_constant__ AttentionPlainParams params) {
  attention_plain<__nv_bfloat16>(params);
}

}  // namespace attn::cuda
