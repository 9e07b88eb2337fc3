#pragma once
// Attention by plain loops over the logical values of a case, in float64 (the truth) or float32 (the yardstick).

#include <cmath>
#include <limits>
#include <vector>

#include "attention_case.h"

namespace attn::test {

template <class Float>
struct RowResult {
  std::vector<Float> out;
  Float lse;
};

/// `weights`: the dtype that probabilities are rounded to before they meet the values, as kernels for bfloat16 do.
template <class Float>
RowResult<Float> reference_row(AttentionData& data, std::int64_t b, std::int64_t i, int head, DType weights = DType::kFloat32) {
  const AttentionCase& c = data.shape;
  const AttentionProblem& p = data.problem;
  const int kv_head = head / (c.num_qo_heads / c.num_kv_heads);
  const std::int64_t diagonal = i + data.kv_lens[b] - data.qo_lens[b];
  constexpr Float kNone = -std::numeric_limits<Float>::infinity();

  std::vector<Float> logits(data.kv_lens[b], kNone);
  std::vector<bool> seen(data.kv_lens[b]);
  Float top = c.sinks ? Float(data.sinks[head]) : kNone;
  for (std::int64_t j = 0; j < data.kv_lens[b]; ++j) {
    if (i >= data.qo_lens[b]) continue;  // padding
    if (c.window_left >= 0 && j < diagonal - c.window_left) continue;
    if (c.window_right >= 0 && j > diagonal + c.window_right) continue;
    Float dot = 0;
    for (int part = 0; part < p.num_parts; ++part) {
      for (int d = 0; d < data.q[part].dim; ++d) dot += Float(data.q[part].at(b, i, head, d)) * Float(data.k[part].at(b, j, part == 0 ? kv_head : 0, d));
    }
    Float logit = Float(p.softmax_scale) * dot;
    if (c.softcap > 0) logit = Float(c.softcap) * std::tanh(logit / Float(c.softcap));
    if (c.alibi) logit -= Float(data.slopes[b * c.num_qo_heads + head]) * Float(std::abs(diagonal - j));
    logits[j] = logit;
    seen[j] = true;
    if (logit > top) top = logit;
  }

  RowResult<Float> result{std::vector<Float>(c.head_dim_vo, 0), kNone};
  if (i >= data.qo_lens[b]) return result;
  const Float base = top == kNone ? Float(0) : top;
  Float sum = c.sinks ? std::exp(Float(data.sinks[head]) - base) : Float(0);
  const Float sink_only = sum;
  for (std::int64_t j = 0; j < data.kv_lens[b]; ++j) {
    if (!seen[j]) continue;
    const Float weight = std::exp(logits[j] - base);
    sum += weight;
    const Float rounded = weights == DType::kFloat32 ? weight : Float(round_to(weights, static_cast<float>(weight)));
    for (int d = 0; d < c.head_dim_vo; ++d) result.out[d] += rounded * Float(c.v_in_k ? data.k[0].at(b, j, kv_head, d) : data.v.at(b, j, kv_head, d));
  }
  if (sum == sink_only) {  // no key with any weight
    result.out.assign(c.head_dim_vo, 0);
    result.lse = c.sinks ? Float(data.sinks[head]) : kNone;
    return result;
  }
  for (Float& x : result.out) x /= sum;
  result.lse = base + std::log(sum);
  return result;
}

}  // namespace attn::test
