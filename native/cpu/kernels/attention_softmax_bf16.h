#pragma once
// One row of logits becomes probabilities in bfloat16; the row's running maximum and sum move on. Powers of two, so that
// the scale and log2(e) are one product: p = 2^((x - max) · scale · log2(e)), exactly 1 at the maximum. The sum adds what the
// roundings to bfloat16 start from, so the lse is that of float32.

#include "cpu/kernels/attention_softmax.h"

namespace attn::cpu::ATTN_ISA {

inline constexpr float kLog2E = 1.44269504f;

/// Lanes [lo, hi) of the row's vector v keep their logits, the others become -inf.
ATTN_INLINE Vec visible_lanes(Vec x, std::int64_t v, std::int64_t lo, std::int64_t hi) {
  const IntVec j = lane_numbers() + static_cast<std::int32_t>(v * kLanes);
  return (j >= broadcast(static_cast<std::int32_t>(lo))) & (j < broadcast(static_cast<std::int32_t>(hi))) ? x : broadcast(-__builtin_inff());
}

/// Whether options bend the logits before the maximum is taken; otherwise they are only scaled, by more than 0.
ATTN_INLINE bool bends(const LogitRow& row) { return row.softcap > 0 || row.slope != 0 || row.scale <= 0; }

/// The maximum in units of the lse.
ATTN_INLINE float natural_max(const LogitRow& row, float max) { return bends(row) ? max : max * row.scale; }

/// The logits [lo, hi) of a row, those that it sees, become probabilities; [begin, lo) and [hi, end) become 0, where begin and end are
/// multiples of kDepthStep. `max` is that of the logits as they come, see natural_max(). Returns what the row's accumulator must be
/// multiplied with.
ATTN_INLINE float softmax_row(float* logits, const LogitRow& row, std::int64_t lo, std::int64_t hi, std::int64_t begin, std::int64_t end,
                              BFloat* probabilities, float* max, float* sum) {
  if (bends(row)) {
    for (std::int64_t j = lo / kTileKv * kTileKv; j < hi; j += kTileKv) {
      LogitRow part = row;
      part.diagonal -= static_cast<float>(j);
      bend_logits(logits + j, part);
    }
  }
  const std::int64_t first = lo / kLanes, last = (hi - 1) / kLanes;
  const Vec head = visible_lanes(load(logits + first * kLanes), first, lo, hi);
  store(logits + first * kLanes, head);
  if (last > first) store(logits + last * kLanes, visible_lanes(load(logits + last * kLanes), last, lo, hi));

  constexpr float kNone = -__builtin_inff();
  Vec peaks[2] = {max_of(head, broadcast(kNone)), broadcast(kNone)};
  std::int64_t v = first + 1;
  for (; v + 1 <= last; v += 2) {
    peaks[0] = max_of(load(logits + v * kLanes), peaks[0]);  // a NaN loses
    peaks[1] = max_of(load(logits + (v + 1) * kLanes), peaks[1]);
  }
  if (v <= last) peaks[0] = max_of(load(logits + v * kLanes), peaks[0]);
  const float moved = reduce_max(max_of(max_of(peaks[0], peaks[1]), broadcast(*max)));
  const float base = moved == kNone ? 0.0f : moved, factor = (bends(row) ? 1.0f : row.scale) * kLog2E;

  // By pairs of vectors from even ones on: an order that does not depend on what is looked at.
  const std::int64_t first_pair = first / 2, last_pair = last / 2;
  for (std::int64_t pair = begin / kDepthStep; pair < first_pair; ++pair) store_elements(probabilities + pair * kDepthStep, BitVec{});
  Vec totals[2] = {};
  for (std::int64_t pair = first_pair; pair <= last_pair; ++pair) {
    const float* x = logits + pair * 2 * kLanes;
    Vec low = exp2((load(x) - base) * factor), high = exp2((load(x + kLanes) - base) * factor);
    if (pair == first_pair && first % 2 == 1) low = Vec{};
    if (pair == last_pair && last % 2 == 0) high = Vec{};
    totals[0] += low;
    totals[1] += high;
    store_elements(probabilities + pair * kDepthStep, narrow(low, high));
  }
  for (std::int64_t pair = last_pair + 1; pair < end / kDepthStep; ++pair) store_elements(probabilities + pair * kDepthStep, BitVec{});

  const float rescale = moved > *max ? exp2(broadcast((*max - base) * factor))[0] : 1.0f;
  *sum = *sum * rescale + reduce_add(totals[0] + totals[1]);
  *max = moved;
  return rescale;
}

}  // namespace attn::cpu::ATTN_ISA
