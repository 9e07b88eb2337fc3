#pragma once
// One row of logits becomes probabilities in bfloat16; the row's running maximum and sum move on. Powers of two, so that
// the scale and log2(e) are one product: p = 2^((x - max) · scale · log2(e)), exactly 1 at the maximum. The sum adds what the
// roundings to bfloat16 start from, so the lse is that of float32.

#include "cpu/kernels/attention_softmax.h"

namespace attn::cpu::ATTN_ISA {

inline constexpr float kLog2E = 1.44269504f;

/// Whether options bend the logits before the maximum is taken; otherwise they are only scaled, by more than 0.
ATTN_INLINE bool bends(const AttentionProblem& p) { return p.logit_softcap > 0 || p.alibi_slopes || p.softmax_scale <= 0; }

/// From differences of logits to powers of two.
ATTN_INLINE float logit_factor(const AttentionProblem& p) { return (bends(p) ? 1.0f : p.softmax_scale) * kLog2E; }

/// The maximum in units of the lse.
ATTN_INLINE float natural_max(const AttentionProblem& p, float max) { return bends(p) ? max : max * p.softmax_scale; }

/// Of the logits [begin, end), multiples of kDepthStep, those that the row does not see, beyond [lo, hi), become -inf; options bend the others.
ATTN_INLINE void mask_logits(float* logits, const AttentionProblem& p, const LogitRow& row, std::int64_t lo, std::int64_t hi, std::int64_t begin,
                             std::int64_t end) {
  for (std::int64_t j = lo / kTileKv * kTileKv; bends(p) && j < hi; j += kTileKv) {
    LogitRow part = row;
    part.diagonal -= static_cast<float>(j);
    bend_logits(logits + j, part);
  }
  const IntVec first = broadcast(static_cast<std::int32_t>(lo)), last = broadcast(static_cast<std::int32_t>(hi));
  for (std::int64_t j = begin; j < end; j += kLanes) {
    if (j >= lo && j + kLanes <= hi) continue;
    const IntVec key = lane_numbers() + static_cast<std::int32_t>(j);
    store(logits + j, (key >= first) & (key < last) ? load(logits + j) : broadcast(-__builtin_inff()));
  }
}

/// The maximum moves on over `count` logits, a multiple of kDepthStep; it is that of the logits as they come, see natural_max(). Returns what the
/// row's accumulator and sum must be multiplied with. Masked logits change no bit of the result.
ATTN_INLINE float raise_max(const float* logits, std::int64_t count, float factor, float* max) {
  Vec peaks[2] = {broadcast(-__builtin_inff()), broadcast(*max)};
  for (std::int64_t j = 0; j < count; j += kDepthStep) {
    peaks[0] = max_of(load(logits + j), peaks[0]);  // a NaN loses
    peaks[1] = max_of(load(logits + j + kLanes), peaks[1]);
  }
  const float before = *max, moved = reduce_max(max_of(peaks[0], peaks[1]));
  *max = moved;
  return moved > before ? exp2(broadcast((before - moved) * factor))[0] : 1.0f;
}

/// `count` logits become probabilities; returns their sum.
ATTN_INLINE float exponentials(const float* logits, std::int64_t count, float factor, float max, BFloat* probabilities) {
  const Vec base = broadcast(max == -__builtin_inff() ? 0.0f : max), factors = broadcast(factor);
  Vec totals[2] = {};
#pragma GCC unroll 2
  for (std::int64_t j = 0; j < count; j += kDepthStep) {
    const Vec low = exp2((load(logits + j) - base) * factors), high = exp2((load(logits + j + kLanes) - base) * factors);
    totals[0] += low;
    totals[1] += high;
    store_elements(probabilities + j, narrow(low, high));
  }
  return reduce_add(totals[0] + totals[1]);
}

}  // namespace attn::cpu::ATTN_ISA
