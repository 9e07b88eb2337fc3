#include "cpu/kernels/attention_outputs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace attn::cpu {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

std::byte* out_row(const AttentionProblem& p, const SequenceSpan& s, std::int64_t head, std::int64_t i) {
  return p.out.data + (s.out_start + i * p.out.row_stride + head * p.out.head_stride) * dtype_size(p.out.dtype);
}

void write_lse(const AttentionProblem& p, const SequenceSpan& s, std::int64_t head, std::int64_t i, float value) {
  if (p.lse) p.lse[s.lse_start + head * p.lse_head_stride + i] = value;
}

/// The factor of a head's values in float8_e4m3.
float value_scale(const AttentionProblem& p, const SequenceSpan& s, std::int64_t head) {
  return p.v_scales.data ? p.v_scales.data[s.index * p.v_scales.sequence_stride + head / p.group_size * p.v_scales.head_stride] : 1.0f;
}

/// What a row's sums are multiplied by, from its state and its sink.
float row_factor(const AttentionProblem& p, const SequenceSpan& s, std::int64_t head, std::int64_t i, float max, float sum) {
  const float sink = p.sinks ? p.sinks[head * p.sinks_stride] : kNone;
  float factor = 0, lse = sink;
  if (sum != 0) {
    const float top = sink > max ? sink : max;
    const float weight = max == kNone || max == top ? 1.0f : std::exp(max - top);  // max is -inf with a sum that is NaN
    const double total = static_cast<double>(sum) * weight + (p.sinks ? std::exp(static_cast<double>(sink) - top) : 0.0);
    factor = static_cast<float>(weight / total) * value_scale(p, s, head);
    if (p.lse) lse = static_cast<float>(top + std::log(total));
  }
  write_lse(p, s, head, i, lse);
  return factor;
}

/// Adds the sink, normalises, scales, converts. `accumulator` is overwritten where the row saw nothing.
void finish_row(const AttentionProblem& p, WriteRow* write_row, const SequenceSpan& s, std::int64_t head, std::int64_t i, float* accumulator, float max,
                float sum) {
  // Nothing seen: the state may still hold 0 · NaN of keys whose logit is -inf.
  if (sum == 0) std::fill_n(accumulator, accumulator_stride(p), 0.0f);
  const float factor = row_factor(p, s, head, i, max, sum);
  write_row(accumulator, factor, p.head_dim_vo, p.out.dtype, out_row(p, s, head, i), p.out.dim_stride);
}

}  // namespace

void finish_rows(const AttentionProblem& p, WriteRow* write_row, const SequenceSpan& s, std::int64_t kv_head, std::int64_t row_begin, const TileState& state,
                 int first, int end) {
  const std::int64_t row = row_begin + first, stride = accumulator_stride(p);
  std::int64_t query = row / p.group_size, member = row % p.group_size;
  for (int r = first; r < end; ++r) {
    finish_row(p, write_row, s, kv_head * p.group_size + member, query, state.accumulator + r * stride, state.max[r], state.sum[r]);
    if (++member < p.group_size) continue;
    member = 0;
    ++query;
  }
}

void write_outputs(const AttentionTile& t, int first, int end) {
  finish_rows(*t.problem, t.write_row, *t.sequence, t.kv_head, t.row_begin, TileState(t), first, end);
}

float output_factor(const AttentionTile& t, std::int64_t query, std::int64_t member, float max, float sum) {
  return row_factor(*t.problem, *t.sequence, t.kv_head * static_cast<std::int64_t>(t.problem->group_size) + member, query, max, sum);
}

TileState merge_splits(const AttentionProblem& p, const SplitStates& states, std::int64_t rows, int first, int end) {
  const std::int64_t stride = accumulator_stride(p);
  const auto state_of = [&](std::int64_t split) { return TileState(states.first + split * states.stride, p, rows); };
  const TileState merged = state_of(0);
  for (int r = first; r < end; ++r) {
    float top = kNone;
    for (std::int64_t split = 0; split < states.count; ++split) top = std::max(top, state_of(split).max[r]);
    float sum = 0;
    for (std::int64_t split = 0; split < states.count; ++split) {
      const TileState state = state_of(split);
      if (state.sum[r] == 0) {
        if (split == 0) std::fill_n(merged.accumulator + r * stride, stride, 0.0f);
        continue;
      }
      const float weight = state.max[r] == kNone ? 1.0f : std::exp(state.max[r] - top);
      sum += state.sum[r] * weight;
      const float* from = state.accumulator + r * stride;
      float* to = merged.accumulator + r * stride;
      for (std::int64_t d = 0; d < stride; ++d) to[d] = (split == 0 ? 0.0f : to[d]) + from[d] * weight;
    }
    merged.max[r] = top;
    merged.sum[r] = sum;
  }
  return merged;
}

void write_padding(const AttentionProblem& p, WriteRow* write_row, const SequenceSpan& s) {
  const std::vector<float> zeros(accumulator_stride(p));
  for (std::int64_t i = s.qo_len; i < s.qo_rows; ++i) {
    for (int head = 0; head < p.num_qo_heads; ++head) {
      write_row(zeros.data(), 1, p.head_dim_vo, p.out.dtype, out_row(p, s, head, i), p.out.dim_stride);
      write_lse(p, s, head, i, kNone);
    }
  }
}

}  // namespace attn::cpu
