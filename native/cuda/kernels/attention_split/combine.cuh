#pragma once
// Sums the splits of each row, a warp per row:
//   top = max lse_s (and sink);  out = Σ exp2(lse_s - top) · out_s / total;  lse = (top + log2 total) · ln 2
// Splits beyond the sequence's own length were never written and are not read, so neighbours in the batch change nothing (a plan's pieces all were).
// Also writes the padding rows of a batch: out 0, lse -inf.

#include "cuda/common/base2.cuh"
#include "cuda/common/elements.cuh"
#include "cuda/kernels/attention/span.cuh"
#include "cuda/kernels/attention_split/params.h"

namespace attn::cuda {

constexpr int kCombineThreads = 128;

template <class T>
__device__ void combine_splits(const SplitParams& params) {
  const AttentionProblem& p = params.problem;
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * (kCombineThreads / 32) + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const std::int64_t head = n % p.num_qo_heads, i = n / p.num_qo_heads % p.qo_len, b = n / p.num_qo_heads / p.qo_len;
  if (b >= p.batch) return;
  const Span s(p, b);
  if (i >= s.qo_rows) return;

  const bool padding = i >= s.qo_len;
  std::int64_t num_splits = (s.kv_len + params.split_len - 1) / params.split_len, first_split = (b * p.num_kv_heads + head / p.group_size) * params.num_splits;
  if (params.first_pieces) {
    first_split = params.first_pieces[b];
    num_splits = params.first_pieces[b + 1] - first_split;
  }
  if (padding) num_splits = 0;
  if (params.whole_done && num_splits == 1) return;
  const std::int64_t first = first_split * params.max_rows + i * p.group_size + head % p.group_size;
  const float* lses = params.lses + first;
  const float sink = p.sinks && !padding ? p.sinks[head * p.sinks_stride] * kLog2e : -INFINITY;

  float top = -INFINITY;
  for (std::int64_t split = lane; split < num_splits; split += 32) top = fmaxf(top, lses[split * params.max_rows]);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
  top = fmaxf(top, sink);
  const float base = top == -INFINITY ? 0 : top;
  float seen = 0;
  for (std::int64_t split = lane; split < num_splits; split += 32) seen += exp2f(lses[split * params.max_rows] - base);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) seen += __shfl_xor_sync(~0u, seen, step);
  const float total = seen + exp2f(sink - base);

  T* out = reinterpret_cast<T*>(p.out.data) + s.qo_row(p, p.out, i) + head * p.out.head_stride;
  const float scale = seen == 0 ? 0 : 1 / total;
  for (int d = 4 * lane; d < p.head_dim_vo; d += 128) {
    float4 sum{};
    for (std::int64_t split = 0; split < num_splits; ++split) {
      const float weight = exp2f(lses[split * params.max_rows] - base) * scale;
      if (weight == 0) continue;  // nothing was written there
      const float4 x = *reinterpret_cast<const float4*>(params.outs + (first + split * params.max_rows) * p.head_dim_vo + d);
      sum.x += weight * x.x;
      sum.y += weight * x.y;
      sum.z += weight * x.z;
      sum.w += weight * x.w;
    }
    out[d * p.out.dim_stride] = from_float<T>(sum.x);
    out[(d + 1) * p.out.dim_stride] = from_float<T>(sum.y);
    out[(d + 2) * p.out.dim_stride] = from_float<T>(sum.z);
    out[(d + 3) * p.out.dim_stride] = from_float<T>(sum.w);
  }
  if (p.lse && lane == 0) {
    float lse = seen == 0 ? sink : base + log2f(total);
    lse /= kLog2e;
    p.lse[s.lse_row(p, head, i)] = lse;
  }
}

/// The kernel `name` for outputs of type T, and what it does first.
#define ATTN_COMBINE(name, T, ...)                                                                                 \
  extern "C" __global__ void __launch_bounds__(kCombineThreads) name(const __grid_constant__ SplitParams params) { \
    __VA_ARGS__;                                                                                                   \
    combine_splits<T>(params);                                                                                     \
  }

}  // namespace attn::cuda
