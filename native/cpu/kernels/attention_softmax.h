#pragma once
// One row, one block of keys: raw dot products become probabilities, and the row's running maximum and sum move on.
//   logit = scale · (q·k), with the scales of float8_e4m3 in the scale, then softcap · tanh(logit / softcap), then - slope · |distance|, then the masks

#include "cpu/kernels/attention_tile.h"

namespace attn::cpu::ATTN_ISA {

/// The factor of one kv head's products.
ATTN_INLINE float logit_factor(const AttentionProblem& p, const SequenceSpan& s, std::int64_t kv_head) {
  float factor = p.softmax_scale;
  if (p.q_scales.data) factor *= p.q_scales.data[s.index * p.q_scales.sequence_stride + kv_head * p.q_scales.head_stride];
  if (p.k_scales.data) factor *= p.k_scales.data[s.index * p.k_scales.sequence_stride + kv_head * p.k_scales.head_stride];
  return factor;
}

struct LogitRow {
  float scale;
  float softcap;   // 0: none
  float slope;     // 0: none
  float diagonal;  // the aligned diagonal's key, counted from the block's first key
};

ATTN_INLINE LogitRow logit_row(const AttentionProblem& p, const SequenceSpan& s, std::int64_t query, std::int64_t head, std::int64_t block) {
  const float slope = p.alibi_slopes ? p.alibi_slopes[s.index * p.alibi_sequence_stride + head * p.alibi_head_stride] : 0.0f;
  const bool scaled = p.q_scales.data || p.k_scales.data;
  return {scaled ? logit_factor(p, s, head / p.group_size) : p.softmax_scale, p.logit_softcap, slope, static_cast<float>(query + s.kv_len - s.qo_len - block)};
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

/// The same for up to kLanes rows of which every key is visible, their products only scaled: a lane is a row wherever a row is one number, since
/// one row after the other would wait for its own. max, sum and factors have room for kLanes.
ATTN_INLINE void softmax_rows(float* logits, int count, const float* scales, float* max, float* sum, float* factors) {
  constexpr int kVecs = kTileKv / kLanes;
  Vec peaks[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    const int r = i < count ? i : count - 1;
    const Vec scale = broadcast(scales[r]);
    peaks[i] = broadcast(max[r]);
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) peaks[i] = max_of(load(logits + r * kTileKv + v * kLanes) * scale, peaks[i]);  // a NaN loses
  }
  transpose(peaks);
  Vec moved = peaks[0];
#pragma GCC unroll 16
  for (int i = 1; i < kLanes; ++i) moved = max_of(peaks[i], moved);
  const Vec before = load(max), base = moved == -__builtin_inff() ? Vec{} : moved;
  const Vec factor = moved > before ? exp(before - base) : broadcast(1.0f);
  float bases[kLanes];
  store(bases, base);
  Vec totals[kLanes] = {};
  for (int r = 0; r < count; ++r) {
    const Vec scale = broadcast(scales[r]), row_base = broadcast(bases[r]);
    Vec total{};
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) {
      float* at = logits + r * kTileKv + v * kLanes;
      const Vec probability = exp(load(at) * scale - row_base);
      total += probability;
      store(at, probability);
    }
    totals[r] = total;
  }
  store(max, moved);
  store(sum, load(sum) * factor + reduce_add_each(totals));
  store(factors, factor);
}

// ── blocks of any number of keys ───────────────────────────────────────────────────────────────────────────────
// In two steps, each for many rows: the maxima, then the probabilities. In one, every row would wait for its own maximum.
// Powers of two, so that the scale and log2(e) are one product, fused with the difference: p = 2^(x · scale · log2(e) - max). The maximum is
// kept as the exponent that it rounds to, the same for sums, accumulators and lse.

/// From a maximum to the units of the lse.
inline constexpr float kNaturalUnits = 0.6931472f;

/// How the logits of all rows become exponents.
struct LogitScale {
  bool bent;      // options apply before the maximum is taken; otherwise logits are only scaled, by more than 0
  float factor;   // from logits to powers of two
  float natural;  // from logits to the units of the lse
  float scale;    // of products, where they are bent
};

ATTN_INLINE LogitScale logit_scale(const AttentionProblem& p, const SequenceSpan& s, std::int64_t kv_head) {
  const float scale = logit_factor(p, s, kv_head);
  const bool bent = p.logit_softcap > 0 || p.alibi_slopes || !(scale > 0);
  const float natural = bent ? 1.0f : scale;
  return {bent, natural * 1.44269504f, natural, scale};
}

/// The options for the keys [lo, hi), and at least those.
ATTN_INLINE void bend_row(float* logits, LogitRow row, std::int64_t lo, std::int64_t hi) {
  const std::int64_t begin = lo / kTileKv * kTileKv;
  row.diagonal -= static_cast<float>(begin);
  for (std::int64_t j = begin; j < hi; j += kTileKv, row.diagonal -= static_cast<float>(kTileKv)) bend_logits(logits + j, row);
}

/// Of the logits [begin, end), multiples of kLanes, those beyond [lo, hi) become -inf.
ATTN_INLINE void mask_row(float* logits, std::int64_t lo, std::int64_t hi, std::int64_t begin, std::int64_t end) {
  const IntVec first = broadcast(static_cast<std::int32_t>(lo)), last = broadcast(static_cast<std::int32_t>(hi));
  const auto mask = [&](std::int64_t j) {
    const IntVec key = lane_numbers() + static_cast<std::int32_t>(j);
    store(logits + j, (key >= first) & (key < last) ? load(logits + j) : broadcast(-__builtin_inff()));
  };
  for (std::int64_t j = begin; j < min_of(lo, end); j += kLanes) mask(j);
  for (std::int64_t j = max_of(hi / kLanes * kLanes, begin); j < end; j += kLanes) mask(j);
}

/// The largest of `count` logits, a multiple of kLanes; NaN never is.
ATTN_INLINE float row_peak(const float* logits, std::int64_t count) {
  Vec peaks[2] = {broadcast(-__builtin_inff()), broadcast(-__builtin_inff())};
  std::int64_t j = 0;
  for (; j + 2 * kLanes <= count; j += 2 * kLanes) {
    peaks[0] = max_of(load(logits + j), peaks[0]);  // a NaN loses
    peaks[1] = max_of(load(logits + j + kLanes), peaks[1]);
  }
  if (j < count) peaks[0] = max_of(load(logits + j), peaks[0]);
  return reduce_max(max_of(peaks[0], peaks[1]));
}

/// The row's maximum, in powers of two, moves on over `count` more logits. Returns what its accumulator and sum must be multiplied with: 1 unless
/// it moved. What nothing was added to is 0 or NaN and needs no factor.
ATTN_INLINE float raise_row_max(const float* logits, std::int64_t count, float factor, float* max) {
  const Vec before = broadcast(*max), moved = max_of(broadcast(row_peak(logits, count) * factor), before);
  *max = moved[0];
  return moved[0] > before[0] && before[0] != -__builtin_inff() ? power_of_two(before - moved)[0] : 1.0f;
}

/// `count` logits of kRows rows, `stride` apart, become probabilities, 0 where they are -inf; sums[r] becomes their sum. Its bits do not depend on
/// how many vectors of -inf end the row, nor on how many pairs of them begin it. Rows go side by side: the end of one would be waited for.
template <int kRows>
ATTN_INLINE void exponentiate_side_by_side(float* logits, std::int64_t stride, std::int64_t count, float factor, const float* max, float* sums) {
  const Vec factors = broadcast(factor);
  Vec base[kRows], totals[kRows][2] = {};
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) base[r] = broadcast(max[r] == -__builtin_inff() ? 0.0f : max[r]);
  std::int64_t j = 0;
  for (; j + 2 * kLanes <= count; j += 2 * kLanes) {
#pragma GCC unroll 8
    for (int i = 0; i < 2 * kRows; ++i) {
      float* at = logits + i / 2 * stride + j + i % 2 * kLanes;
      const Vec p = power_of_two(load(at) * factors - base[i / 2]);
      totals[i / 2][i % 2] += p;
      store(at, p);
    }
  }
  if (j < count) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      float* at = logits + r * stride + j;
      const Vec p = power_of_two(load(at) * factors - base[r]);
      totals[r][0] += p;
      store(at, p);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) sums[r] = reduce_add(totals[r][0] + totals[r][1]);
}

/// The same for any number of rows.
ATTN_INLINE void exponentiate_rows(float* logits, std::int64_t stride, int rows, std::int64_t count, float factor, const float* max, float* sums) {
  int r = 0;
  for (; r + 4 <= rows; r += 4) exponentiate_side_by_side<4>(logits + r * stride, stride, count, factor, max + r, sums + r);
  for (; r < rows; ++r) exponentiate_side_by_side<1>(logits + r * stride, stride, count, factor, max + r, sums + r);
}

}  // namespace attn::cpu::ATTN_ISA
