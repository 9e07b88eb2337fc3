#pragma once
// Probabilities in bfloat16, for the products of bfloat16. Their sum adds what the roundings start from, so the lse is that of float32.

#include "cpu/kernels/attention_softmax.h"
#include "cpu/simd/bf16_product.h"

namespace attn::cpu::ATTN_ISA {

// The maximum stays a logit, and is subtracted before the scale is applied: the probability there must be 1, since it is rounded to bfloat16 and its
// part of the sum is not.

/// The row's maximum moves on over `count` more logits. Returns what its accumulator and sum must be multiplied with: 1 unless it moved. What
/// nothing was added to is 0 or NaN and needs no factor.
ATTN_INLINE float raise_row_logit(const float* logits, std::int64_t count, float factor, float* max) {
  const Vec before = broadcast(*max), moved = max_of(broadcast(row_peak(logits, count)), before);
  *max = moved[0];
  return moved[0] > before[0] && before[0] != -__builtin_inff() ? power_of_two((before - moved) * factor)[0] : 1.0f;
}

/// `count` logits, a multiple of kDepthStep, become probabilities, 0 where they are -inf; returns their sum.
ATTN_INLINE float exponentiate_row(const float* logits, std::int64_t count, float factor, float max, BFloat* probabilities) {
  const Vec base = broadcast(max == -__builtin_inff() ? 0.0f : max), factors = broadcast(factor);
  Vec totals[2] = {};
#pragma GCC unroll 2
  for (std::int64_t j = 0; j < count; j += kDepthStep) {
    const Vec low = power_of_two((load(logits + j) - base) * factors), high = power_of_two((load(logits + j + kLanes) - base) * factors);
    totals[0] += low;
    totals[1] += high;
    store_elements(probabilities + j, narrow(low, high));
  }
  return reduce_add(totals[0] + totals[1]);
}

}  // namespace attn::cpu::ATTN_ISA
