#pragma once
// One row, one block of keys: raw dot products become probabilities, and the row's running maximum and sum move on.
//   logit = scale · (q·k), then softcap · tanh(logit / softcap), then - slope · |distance|, then the masks

#include "cpu/kernels/attention_tile.h"

namespace attn::cpu::ATTN_ISA {

struct LogitRow {
  float scale;
  float softcap;   // 0: none
  float slope;     // 0: none
  float diagonal;  // the aligned diagonal's key, counted from the block's first key
};

ATTN_INLINE LogitRow logit_row(const AttentionProblem& p, const SequenceSpan& s, std::int64_t query, std::int64_t head, std::int64_t block) {
  const float slope = p.alibi_slopes ? p.alibi_slopes[s.index * p.alibi_sequence_stride + head * p.alibi_head_stride] : 0.0f;
  return {p.softmax_scale, p.logit_softcap, slope, static_cast<float>(query + s.kv_len - s.qo_len - block)};
}

/// The rare options, out of the way of the common path: scales the products in place as well.
ATTN_INLINE void bend_logits(float* logits, const LogitRow& row) {
  const Vec lanes = __builtin_convertvector(lane_numbers(), Vec);
  for (int j = 0; j < kTileKv; j += kLanes) {
    Vec x = load(logits + j) * row.scale;
    if (row.softcap > 0) x = tanh(x / row.softcap) * row.softcap;
    if (row.slope != 0) {
      const Vec distance = row.diagonal - (lanes + static_cast<float>(j));
      x = x - row.slope * vec_of(bits_of(distance) & 0x7fffffffu);
    }
    store(logits + j, x);
  }
}

/// The first kVecs vectors of a row's block; see softmax_block().
template <int kVecs>
ATTN_INLINE float softmax_vectors(float* logits, float scale, std::int64_t lo, std::int64_t hi, float* max, float* sum) {
  constexpr float kNone = -__builtin_inff();
  Vec x[kVecs];
#pragma GCC unroll 16
  for (int v = 0; v < kVecs; ++v) x[v] = load(logits + v * kLanes) * scale;
  if (lo > 0 || hi < kVecs * kLanes) {
    const IntVec first = broadcast(static_cast<std::int32_t>(lo)), end = broadcast(static_cast<std::int32_t>(hi));
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) {
      const IntVec j = lane_numbers() + v * kLanes;
      x[v] = (j >= first) & (j < end) ? x[v] : broadcast(kNone);
    }
  }

  Vec peak = broadcast(*max);
#pragma GCC unroll 16
  for (int v = 0; v < kVecs; ++v) peak = max_of(x[v], peak);  // a NaN in x loses
  const float moved = reduce_max(peak);
  const float base = moved == kNone ? 0.0f : moved;
  Vec total{};
#pragma GCC unroll 16
  for (int v = 0; v < kVecs; ++v) {
    const Vec probability = exp(x[v] - base);
    total += probability;
    store(logits + v * kLanes, probability);
  }
  const float factor = moved > *max ? exp(*max - base) : 1.0f;
  *sum = *sum * factor + reduce_add(total);
  *max = moved;
  return factor;
}

/// logits[kTileKv], of which [lo, hi) are visible, become exp(logit - max), 0 where masked. Returns what the row's
/// accumulator must be multiplied with: 1 unless the maximum moved.
///
/// NaN never becomes the maximum; it enters through the sum and the probabilities. While all logits are -inf the
/// maximum stays -inf and the probabilities 0. Of few keys only the first vectors are looked at: zeros change no sum.
ATTN_INLINE float softmax_block(float* logits, const LogitRow& row, std::int64_t lo, std::int64_t hi, float* max, float* sum) {
  constexpr int kVecs = kTileKv / kLanes, kFew = kVecs < 4 ? 1 : kVecs / 4;
  float scale = row.scale;
  if (row.softcap > 0 || row.slope != 0) {
    bend_logits(logits, row);
    scale = 1;
  }
  if (hi > kFew * kLanes) return softmax_vectors<kVecs>(logits, scale, lo, hi, max, sum);
#pragma GCC unroll 16
  for (int v = kFew; v < kVecs; ++v) store(logits + v * kLanes, Vec{});
  return softmax_vectors<kFew>(logits, scale, lo, hi, max, sum);
}

}  // namespace attn::cpu::ATTN_ISA
