// y = x / sqrt(mean(x²) + eps) · weight, float32 sums.
//
// A row belongs to one warp (rms_norm_warp_*: short rows, 8 per block) or to one block (rms_norm_block_*). Two passes over
// the row, the second out of the L1 cache: the sum of squares, by shuffles and, in a block, 32 bytes of shared memory; then the
// scaled row. A thread takes kItems neighbours at a time, 16 bytes where the rows are aligned, and writes only what it read
// itself: y may be x. The order of the sum depends on width and alignment only. Budget 48 registers.

#include <cstdint>

#include "cuda/common/elements.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/common/strided.cuh"
#include "cuda/kernels/rms_norm/params.h"

namespace attn::cuda {
namespace {

constexpr int kWarps = kRmsNormThreads / 32;

__device__ float warp_sum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

/// The same sum in every thread, added in the same order.
__device__ float block_sum(float value) {
  __shared__ float sums[kWarps];
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  float total = 0;
#pragma unroll
  for (int i = 0; i < kWarps; ++i) total += sums[i];
  return total;
}

/// Weights index … index + kItems - 1 by the widest accesses.
template <class W, int kItems>
__device__ void load_weights(const void* weight, std::int64_t index, float (&values)[kItems]) {
  constexpr int kPart = kItems * sizeof(W) > 16 ? 16 / sizeof(W) : kItems;
  const auto* parts = reinterpret_cast<const Pack<W, kPart>*>(static_cast<const W*>(weight) + index);
#pragma unroll
  for (int i = 0; i < kItems / kPart; ++i) {
    const Pack<W, kPart> part = parts[i];
#pragma unroll
    for (int j = 0; j < kPart; ++j) values[i * kPart + j] = to_float(part.items[j]);
  }
}

template <int kItems>
__device__ void load_weights(const RmsNormParams& p, std::int64_t index, float (&values)[kItems]) {
  if (p.weight_dtype == DType::kFloat32) {
    load_weights<float>(p.weight, index, values);
  } else if (p.weight_dtype == DType::kFloat16) {
    load_weights<__half>(p.weight, index, values);
  } else {
    load_weights<__nv_bfloat16>(p.weight, index, values);
  }
}

template <class T, int kItems, bool kWholeBlock>
__device__ void normalize_rows(const RmsNormParams& p) {
  using Items = Pack<T, kItems>;
  const std::int64_t row = kWholeBlock ? blockIdx.x : static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= p.rows) return;
  constexpr int kThreads = kWholeBlock ? kRmsNormThreads : 32;
  const int thread = threadIdx.x % kThreads;
  const StridedOffsets at = strided_offsets(p.outer, row, p.rows);
  const Items* x = reinterpret_cast<const Items*>(static_cast<const T*>(p.x) + at.src);
  Items* y = reinterpret_cast<Items*>(static_cast<T*>(p.y) + at.dst);
  const std::int64_t count = p.width / kItems;
  float sum = 0;
#pragma unroll 2
  for (std::int64_t i = thread; i < count; i += kThreads) {
    const Items items = x[i];
#pragma unroll
    for (int j = 0; j < kItems; ++j) {
      const float value = to_float(items.items[j]);
      sum += value * value;
    }
  }
  sum = kWholeBlock ? block_sum(sum) : warp_sum(sum);
  const float factor = 1 / sqrtf(sum / static_cast<float>(p.width) + p.eps);
  for (std::int64_t i = thread; i < count; i += kThreads) {
    Items items = x[i];
    float weights[kItems];
    load_weights(p, i * kItems, weights);
#pragma unroll
    for (int j = 0; j < kItems; ++j) items.items[j] = from_float<T>(to_float(items.items[j]) * factor * weights[j]);
    y[i] = items;
  }
}

}  // namespace

#define ATTN_RMS_NORM_KERNEL(name, type, items, whole_block) \
  extern "C" __global__ void __launch_bounds__(kRmsNormThreads) name(const __grid_constant__ RmsNormParams p) { normalize_rows<type, items, whole_block>(p); }
ATTN_RMS_NORM_KERNEL(rms_norm_warp_wide_float32, float, 4, false)
ATTN_RMS_NORM_KERNEL(rms_norm_warp_wide_float16, __half, 8, false)
ATTN_RMS_NORM_KERNEL(rms_norm_warp_wide_bfloat16, __nv_bfloat16, 8, false)
ATTN_RMS_NORM_KERNEL(rms_norm_block_wide_float32, float, 4, true)
ATTN_RMS_NORM_KERNEL(rms_norm_block_wide_float16, __half, 8, true)
ATTN_RMS_NORM_KERNEL(rms_norm_block_wide_bfloat16, __nv_bfloat16, 8, true)
ATTN_RMS_NORM_KERNEL(rms_norm_warp_plain_float32, float, 1, false)
ATTN_RMS_NORM_KERNEL(rms_norm_warp_plain_float16, __half, 1, false)
ATTN_RMS_NORM_KERNEL(rms_norm_warp_plain_bfloat16, __nv_bfloat16, 1, false)
ATTN_RMS_NORM_KERNEL(rms_norm_block_plain_float32, float, 1, true)
ATTN_RMS_NORM_KERNEL(rms_norm_block_plain_float16, __half, 1, true)
ATTN_RMS_NORM_KERNEL(rms_norm_block_plain_bfloat16, __nv_bfloat16, 1, true)
#undef ATTN_RMS_NORM_KERNEL

}  // namespace attn::cuda
