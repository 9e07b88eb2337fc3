#pragma once
// What attention with the keys as rows of the first product shares (attention_columns_bf16.cpp, attention_rows_bf16.cpp): keys as an operand,
// and the softmax of Sᵀ. Rows of queries are its columns, those of the next kv head after those of the last, and lanes of its vectors: their maxima and
// sums need no steps across lanes, and P is transposed on its way to the second product.

#include "cpu/kernels/attention_task_bf16.h"

namespace attn::cpu::ATTN_ISA {

/// Keys of one product at most, and those that are copied where they cannot be used as they lie.
inline constexpr std::int64_t kGroupKeys = 64, kCopiedKeys = kPanelCols;

/// What a vector of kLanes rows is told apart by; lanes beyond the last row repeat it.
struct LaneRows {
  Vec max, sum;
  Vec slope, diagonal;  // ALiBi's; the diagonal is counted from the block's first key
  IntVec first, last;   // keys of the block that each sees: [first, last)
  bool whole;           // all see all that there are
};

class Bf16ColumnTask : protected Bf16Task {
 protected:
  Bf16ColumnTask(const AttentionTile& tile, const Bf16Shape& shape, std::int64_t logit_stride) : Bf16Task(tile, shape), logit_stride_(logit_stride) {
    as_they_lie_ = k_[0].dim_stride == 1 && k_[0].dim % kDepthStep == 0;
    if (p_.num_parts == 2) {
      as_they_lie_ = as_they_lie_ && k_[1].dim_stride == 1 && k_[1].dim % kDepthStep == 0 && k_[1].base == k_[0].base + k_[0].dim * 2 &&
                     k_[1].row_bytes == k_[0].row_bytes && k_[1].page_bytes == k_[0].page_bytes;
    }
  }

  /// Sᵀ = K Qᵀ of kv head number `head` of the task and `rows` query rows, whose columns begin with `column`. Keys that nobody sees hold what they
  /// held: add_probabilities() hides them.
  template <class Beside = NothingBeside>
  ATTN_INLINE void add_scores(KeyRange keys, KeyRange steps, int head, const BFloat* queries, int rows, int column, Beside&& beside = {}) const {
    for (std::int64_t j = steps.begin; j < steps.end;) {
      std::int64_t count = min_of(kGroupKeys, steps.end - j), stride = 0;
      const BFloat* group = group_keys(keys, head, j, count, stride);
      product_.multiply<false>(count, round_up(rows, kPanelCols), depth_, group, stride, queries, depth_ * kPanelCols,
                               scratch_.logits + j * logit_stride_ + column, logit_stride_, beside);
      j += count;
    }
  }

  /// The rows of `count` keys from key j of the block on, or of fewer, as an operand; `stride` in elements.
  ATTN_INLINE const BFloat* group_keys(KeyRange keys, int head, std::int64_t j, std::int64_t& count, std::int64_t& stride) const {
    const KvRows& rows = k_[0];
    if (as_they_lie_ && j >= keys.begin && keys.end - j >= kPanelCols) {
      std::int64_t here = min_of(count, keys.end - j);
      if (rows.pages) here = min_of(here, rows.page_size - (block_ + j) % rows.page_size);
      if (here >= min_of(count, kPanelCols)) {
        count = here / kPanelCols * kPanelCols;
        stride = rows.row_bytes / 2;
        return elements(rows.row(block_ + j) + head * rows.head_bytes);
      }
    }
    count = min_of(count, kCopiedKeys);
    stride = depth_;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t key = block_ + min_of(max_of(j + i, keys.begin), keys.end - 1);  // beyond: a valid row again
      BFloat* to = scratch_.keys + i * depth_;
      for (int part = 0; part < p_.num_parts; ++part) {
        const KvRows& from = k_[part];
        const BFloat* row = elements(from.row(key) + head * from.head_bytes);
        for (std::int64_t d = 0; d < from.dim; d += kDepthStep, to += kDepthStep) {
          store_elements(to, load_elements(row + d * from.dim_stride, from.dim - d, from.dim_stride));
        }
      }
    }
    return scratch_.keys;
  }

  ATTN_INLINE LaneRows lane_rows(KeyRange keys, KeyRange steps, int row, int count) const {
    float max[kLanes], sum[kLanes], slope[kLanes], diagonal[kLanes];
    std::int32_t first[kLanes], last[kLanes];
    LaneRows lanes;
    lanes.whole = true;
    for (int i = 0; i < kLanes; ++i) {
      const int r = row + static_cast<int>(min_of(i, count - 1));
      const KeyRange seen = row_keys(r, keys);
      max[i] = *max_at(r);
      sum[i] = *sum_at(r);
      first[i] = static_cast<std::int32_t>(seen.begin);
      last[i] = static_cast<std::int32_t>(seen.end);
      lanes.whole = lanes.whole && seen.begin <= steps.begin && seen.end >= steps.end;
      const LogitRow options = options_of(r);
      slope[i] = options.slope;
      diagonal[i] = options.diagonal;
    }
    lanes.max = load(max);
    lanes.sum = load(sum);
    lanes.slope = load(slope);
    lanes.diagonal = load(diagonal);
    __builtin_memcpy(&lanes.first, first, sizeof first);
    __builtin_memcpy(&lanes.last, last, sizeof last);
    return lanes;
  }

  /// Options and masks of one key's logits.
  ATTN_INLINE Vec shown(Vec x, const LaneRows& lanes, std::int64_t j) const {
    if (scale_.bent) {
      x = x * scale_.scale;
      if (p_.logit_softcap > 0) x = tanh(x / p_.logit_softcap) * p_.logit_softcap;
      const Vec distance = lanes.diagonal - static_cast<float>(j);
      x = x - lanes.slope * vec_of(bits_of(distance) & 0x7fffffffu);
    }
    const IntVec key = broadcast(static_cast<std::int32_t>(j));
    return (key >= lanes.first) & (key < lanes.last) ? x : broadcast(-__builtin_inff());
  }

  /// `count` rows from row `row` on, of the chunk that starts with row `chunk`: P = exp(S - max), and what has been summed follows the maximum.
  void add_probabilities(KeyRange keys, KeyRange steps, int chunk, int row, int count) const {
    const int r = row - chunk;
    const LaneRows lanes = lane_rows(keys, steps, row, count);
    float* logits = scratch_.logits + r;
    if (!lanes.whole || scale_.bent) {
      for (std::int64_t j = steps.begin; j < steps.end; ++j) store(logits + j * logit_stride_, shown(load(logits + j * logit_stride_), lanes, j));
    }
    Vec peaks[4] = {lanes.max, lanes.max, lanes.max, lanes.max};
    for (std::int64_t j = steps.begin; j < steps.end; j += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) peaks[i] = max_of(load(logits + (j + i) * logit_stride_), peaks[i]);  // a NaN loses
    }
    const Vec max = max_of(max_of(peaks[0], peaks[1]), max_of(peaks[2], peaks[3]));
    const Vec base = max == -__builtin_inff() ? Vec{} : max, factor = broadcast(scale_.factor);

    Vec totals[2] = {};
    for (std::int64_t j = steps.begin; j < steps.end; j += kDepthStep) {
      BitVec pairs[kPanelCols];
#pragma GCC unroll 4
      for (int i = 0; i < kPanelCols; ++i) {
        const float* from = logits + (j + 2 * i) * logit_stride_;
        const Vec low = power_of_two((load(from) - base) * factor), high = power_of_two((load(from + logit_stride_) - base) * factor);
        totals[0] += low;
        totals[1] += high;
        pairs[i] = interleave_halves(narrow(low, high));
      }
      transpose_pairs(pairs);
#pragma GCC unroll 16
      for (int i = 0; i < kPanelCols; ++i) {
        if (i < count) store_elements(scratch_.probabilities + (r + i) * kProbabilityStride + j, pairs[i]);
      }
    }

    // exp(-inf - -inf) is no number: rows that have seen nothing yet have nothing to rescale.
    const Vec moved = max > lanes.max ? power_of_two((lanes.max - base) * factor) : broadcast(1.0f);
    float maxima[kLanes], sums[kLanes], factors[kLanes];
    store(maxima, max);
    store(sums, lanes.sum * moved + (totals[0] + totals[1]));
    store(factors, moved);
    for (int i = 0; i < count; ++i) {
      *max_at(row + i) = maxima[i];
      *sum_at(row + i) = sums[i];
      if (factors[i] != 1) rescale(row + i, factors[i]);
    }
  }

  const std::int64_t logit_stride_;
  bool as_they_lie_;  // keys need no copy where a page holds enough of them
};

}  // namespace attn::cpu::ATTN_ISA
