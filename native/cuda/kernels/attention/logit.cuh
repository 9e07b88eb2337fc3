#pragma once
// From a raw dot product to a logit, and from a row's state to its result: the order of docs/numerics.md.

#include "core/attention.h"

namespace attn::cuda {

/// exp, log and lse use the natural base here.
inline constexpr float kNegInf = -__builtin_inff();

/// logit = scale · (q·k), then softcap · tanh(logit / softcap), then - slope · |i + (kv_len - qo_len) - j|.
__device__ __forceinline__ float bend_logit(const AttentionProblem& p, float dot, float slope, std::int64_t distance) {
  float x = dot * p.softmax_scale;
  if (p.logit_softcap > 0) x = tanhf(x / p.logit_softcap) * p.logit_softcap;
  if (p.alibi_slopes) x -= slope * fabsf(static_cast<float>(distance));
  return x;
}

__device__ __forceinline__ float alibi_slope(const AttentionProblem& p, std::int64_t b, std::int64_t head) {
  return p.alibi_slopes ? p.alibi_slopes[b * p.alibi_sequence_stride + head * p.alibi_head_stride] : 0.0f;
}

/// Of keys or values of kv head `head`; 1 where they have none.
__device__ __forceinline__ float head_scale(const HeadScales& scales, std::int64_t b, std::int64_t head) {
  return scales.data ? scales.data[b * scales.sequence_stride + head * scales.head_stride] : 1.0f;
}

/// The factor that normalises a row, and its lse; the sink is one more logit with value 0. A sum of 0: the row saw nothing.
struct RowResult {
  float factor, lse;
};
__device__ __forceinline__ RowResult finish_row(const AttentionProblem& p, std::int64_t head, float max, float sum) {
  const float sink = p.sinks ? p.sinks[head * p.sinks_stride] : kNegInf;
  if (sum == 0) return {0.0f, sink};
  const float top = sink > max ? sink : max;
  const float weight = max == kNegInf ? 1.0f : expf(max - top);  // max is -inf with a sum that is NaN
  const float total = sum * weight + (p.sinks ? expf(sink - top) : 0.0f);
  return {weight / total, top + logf(total)};
}

}  // namespace attn::cuda
