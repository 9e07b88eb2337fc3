// mergeStates, a warp per row, any strides:
//   max = largest lse;  weight_s = exp(lse_s - max) / Σ exp(lse - max);  out = Σ weight_s · out_s;  lse = max + log Σ exp(lse - max)
// Bound by memory: each out row is read once, and not at all where its weight is 0. Lanes share the states while weighing and the
// features while summing; both orders are fixed.

#include "cuda/common/elements.cuh"
#include "cuda/kernels/merge/params.h"

namespace attn::cuda {
namespace {

constexpr int kThreads = 128;

struct Row {
  std::int64_t b, i, head;

  __device__ std::int64_t out_offset(const MergeState& s) const { return b * s.out_strides[0] + i * s.out_strides[1] + head * s.out_strides[2]; }
  __device__ float& lse(const MergeState& s) const { return s.lse[b * s.lse_strides[0] + head * s.lse_strides[1] + i * s.lse_strides[2]]; }
  /// FlashAttention-2 and FlashMLA write +inf for a row that saw no key.
  __device__ float seen_lse(const MergeState& s) const {
    const float x = lse(s);
    return x == INFINITY ? -INFINITY : x;
  }
};

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads) merge_plain(const __grid_constant__ MergeParams p) {
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (n >= p.rows) return;
  const int lane = threadIdx.x % 32;
  const Row row{n / p.heads / p.len, n / p.heads % p.len, n % p.heads};

  float max = -INFINITY;
  for (std::int64_t s = lane; s < p.num_states; s += 32) max = fmaxf(max, row.seen_lse(p.states[s]));  // a NaN loses
#pragma unroll
  for (int step = 16; step > 0; step /= 2) max = fmaxf(max, __shfl_xor_sync(~0u, max, step));
  const float origin = max == -INFINITY ? 0 : max;  // -inf - -inf would be NaN
  float sum = 0;
  for (std::int64_t s = lane; s < p.num_states; s += 32) sum += expf(row.seen_lse(p.states[s]) - origin);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);

  const std::int64_t to = row.out_offset(p.result);
  for (std::int64_t d = lane; d < p.dim; d += 32) {
    float out = 0;
    for (std::int64_t s = 0; s < p.num_states; ++s) {
      const MergeState& state = p.states[s];
      const float weight = sum == 0 ? 0 : expf(row.seen_lse(state) - origin) / sum;
      if (weight == 0) continue;  // whatever it holds, NaN included, counts for nothing
      out = fmaf(weight, load_element(state.out, p.dtype, row.out_offset(state) + d), out);
    }
    store_element(p.result.out, p.dtype, to + d, out);
  }
  if (lane == 0) row.lse(p.result) = origin + logf(sum);
}

}  // namespace attn::cuda
