// Few query rows of bfloat16 against one kv head, block by block of the keys, with the keys as rows of the first product:
//   Sᵀ = K Qᵀ;  P = exp(S - max), rounded to bfloat16;  O = O · exp(old max - max) + P V;  sum likewise, before the rounding
// Keys are not packed: a row of keys is an operand as it lies in memory, a page's too. Queries are packed once, values once per
// block, and where values are part of the keys (MLA) one reading from memory serves both. Rows of queries are lanes of Sᵀ, so that their
// maxima and sums need no steps across lanes; P is transposed on its way to the second product.
// Scratch: (rows + kGroupKeys) · depth + 2 · kBlockKeys · head_dim_vo bfloat16, and Sᵀ of kChunkRows rows. Any head dims, strides.

#include "cpu/kernels/attention_kv_bf16.h"
#include "cpu/kernels/attention_softmax_bf16.h"

namespace attn::cpu::ATTN_ISA {
namespace {

constexpr std::int64_t kBlockKeys = 256;
/// Keys of one product.
constexpr std::int64_t kGroupKeys = 64;
/// Rows of queries whose logits of a block stay near the L1 cache.
constexpr int kChunkRows = 32;
// Not powers of two, so that rows do not collide in the L1 cache.
constexpr std::int64_t kLogitStride = kChunkRows + 16;
constexpr std::int64_t kProbabilityStride = kBlockKeys + 32;
constexpr std::int64_t kValuePanel = kBlockKeys * kPanelCols;

struct ColumnScratch {
  BFloat* queries;        // [rows / 16, depth / 2, 16 pairs]
  BFloat* keys;           // [kGroupKeys, depth]: those that cannot be used as they lie
  BFloat* values;         // [value_cols / 16, kBlockKeys / 2, 16 pairs]
  BFloat* kept;           // like values: those that one query sees
  BFloat* probabilities;  // [kChunkRows, kProbabilityStride]
  float* logits;          // [kBlockKeys, kLogitStride]
  std::size_t bytes;
};

/// Without memory, only the number of bytes.
ATTN_INLINE ColumnScratch column_scratch(const AttentionProblem& p, int rows, std::byte* memory) {
  ColumnScratch s;
  s.bytes = 0;
  const auto take = [&](std::int64_t bytes) {
    std::byte* taken = memory ? memory + s.bytes : nullptr;
    s.bytes += static_cast<std::size_t>(round_up(bytes, 64));
    return taken;
  };
  const auto take_elements = [&](std::int64_t count) { return reinterpret_cast<BFloat*>(take(count * 2)); };
  s.queries = take_elements(round_up(rows, kPanelCols) * query_depth(p));
  s.keys = take_elements(kGroupKeys * query_depth(p));
  s.values = take_elements(kBlockKeys * value_cols(p));
  s.kept = take_elements(kBlockKeys * value_cols(p));
  s.probabilities = take_elements(kChunkRows * kProbabilityStride);
  s.logits = reinterpret_cast<float*>(take(kBlockKeys * kLogitStride * 4));
  return s;
}

/// What a vector of kLanes rows is told apart by; lanes beyond the last row repeat it.
struct LaneRows {
  Vec max, sum;
  Vec slope, diagonal;  // ALiBi's; the diagonal is counted from the block's first key
  IntVec first, last;   // keys of the block that each sees: [first, last)
  bool whole;           // all see all that there are
};

class ColumnTask {
 public:
  ColumnTask(const AttentionTile& tile)
      : t_(tile),
        p_(*tile.problem),
        span_(*tile.sequence),
        scratch_(column_scratch(p_, tile.num_rows, tile.scratch)),
        depth_(query_depth(p_)),
        stride_(accumulator_stride(p_)) {
    for (int part = 0; part < p_.num_parts; ++part) k_[part] = kv_rows(p_, span_, p_.k[part], span_.k_start[part], t_.kv_head);
    v_ = p_.v_in_k ? k_[0] : kv_rows(p_, span_, p_.v, span_.v_start, t_.kv_head);
    as_they_lie_ = k_[0].dim_stride == 1 && k_[0].dim % kDepthStep == 0;
    if (p_.num_parts == 2) {
      as_they_lie_ = as_they_lie_ && k_[1].dim_stride == 1 && k_[1].dim % kDepthStep == 0 && k_[1].base == k_[0].base + k_[0].dim * 2 &&
                     k_[1].row_bytes == k_[0].row_bytes && k_[1].page_bytes == k_[0].page_bytes;
    }
  }

  void run(KeyRange keys) {
    pack_queries(t_, scratch_.queries);
    for (std::int64_t block = keys.begin / kBlockKeys * kBlockKeys; block < keys.end; block += kBlockKeys) {
      block_ = block;
      add_block({max_of(keys.begin - block, 0), min_of(keys.end - block, kBlockKeys)});
    }
    for (int r = 0; r < t_.num_rows; ++r) {
      t_.max[r] = natural_max(p_, t_.max[r]);
      put_in_turn(t_.accumulator + r * stride_, p_.head_dim_vo);
    }
  }

 private:
  /// What row r sees of the block.
  ATTN_INLINE KeyRange row_keys(int r, KeyRange within) const {
    const KeyRange all = visible_keys(p_, span_, (t_.row_begin + r) / p_.group_size);
    return {max_of(all.begin - block_, within.begin), min_of(all.end - block_, within.end)};
  }

  ATTN_INLINE void add_block(KeyRange keys) {
    const std::int64_t begin = keys.begin / kDepthStep * kDepthStep, end = round_up(keys.end, kDepthStep);
    const bool edge = row_keys(t_.num_rows - 1, keys).begin > keys.begin || row_keys(0, keys).end < keys.end;
    const bool poison = pack_values(v_, block_, keys.begin, keys.end, p_.head_dim_vo, kValuePanel, scratch_.values, edge);
    for (int first = 0; first < t_.num_rows; first += kChunkRows) {
      const int rows = static_cast<int>(min_of(kChunkRows, t_.num_rows - first));
      add_scores(keys, begin, end, first, rows);
      for (int r = 0; r < rows; r += kLanes) add_probabilities(keys, begin, end, first, r, static_cast<int>(min_of(kLanes, rows - r)));
      add_values(keys, begin, end, first, rows, poison);
    }
  }

  /// Sᵀ = K Qᵀ for the keys [begin, end); those that nobody sees hold what they held: add_probabilities() hides them.
  ATTN_INLINE void add_scores(KeyRange keys, std::int64_t begin, std::int64_t end, int first, int rows) const {
    for (std::int64_t j = begin; j < end;) {
      std::int64_t count = min_of(kGroupKeys, end - j), stride = 0;
      const BFloat* group = group_keys(keys, j, count, stride);
      product_.multiply<false>(count, round_up(rows, kPanelCols), depth_, group, stride, scratch_.queries + first * depth_, depth_ * kPanelCols,
                               scratch_.logits + j * kLogitStride, kLogitStride);
      j += count;
    }
  }

  /// The rows of `count` keys from key j of the block on, or of fewer, as an operand; `stride` in elements.
  ATTN_INLINE const BFloat* group_keys(KeyRange keys, std::int64_t j, std::int64_t& count, std::int64_t& stride) const {
    const KvRows& rows = k_[0];
    if (as_they_lie_ && j >= keys.begin && keys.end - j >= kPanelCols) {
      std::int64_t here = min_of(count, keys.end - j);
      if (rows.pages) here = min_of(here, rows.page_size - (block_ + j) % rows.page_size);
      if (here >= min_of(count, kPanelCols)) {
        count = here / kPanelCols * kPanelCols;
        stride = rows.row_bytes / 2;
        return elements(rows.row(block_ + j));
      }
    }
    count = min_of(count, kPanelCols);
    stride = depth_;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t key = block_ + min_of(max_of(j + i, keys.begin), keys.end - 1);  // beyond: a valid row again
      BFloat* to = scratch_.keys + i * depth_;
      for (int part = 0; part < p_.num_parts; ++part) {
        const KvRows& from = k_[part];
        const BFloat* row = elements(from.row(key));
        for (std::int64_t d = 0; d < from.dim; d += kDepthStep, to += kDepthStep) {
          store_elements(to, load_elements(row + d * from.dim_stride, from.dim - d, from.dim_stride));
        }
      }
    }
    return scratch_.keys;
  }

  ATTN_INLINE LaneRows lane_rows(KeyRange keys, std::int64_t begin, std::int64_t end, int row, int count) const {
    float max[kLanes], sum[kLanes], slope[kLanes], diagonal[kLanes];
    std::int32_t first[kLanes], last[kLanes];
    LaneRows lanes;
    lanes.whole = true;
    for (int i = 0; i < kLanes; ++i) {
      const int r = row + static_cast<int>(min_of(i, count - 1));
      const KeyRange seen = row_keys(r, keys);
      max[i] = t_.max[r];
      sum[i] = t_.sum[r];
      first[i] = static_cast<std::int32_t>(seen.begin);
      last[i] = static_cast<std::int32_t>(seen.end);
      lanes.whole = lanes.whole && seen.begin <= begin && seen.end >= end;
      const std::int64_t of_head = t_.row_begin + r;
      const LogitRow options =
          logit_row(p_, span_, of_head / p_.group_size, t_.kv_head * static_cast<std::int64_t>(p_.group_size) + of_head % p_.group_size, block_);
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
    if (bends(p_)) {
      x = x * p_.softmax_scale;
      if (p_.logit_softcap > 0) x = tanh(x / p_.logit_softcap) * p_.logit_softcap;
      const Vec distance = lanes.diagonal - static_cast<float>(j);
      x = x - lanes.slope * vec_of(bits_of(distance) & 0x7fffffffu);
    }
    const IntVec key = broadcast(static_cast<std::int32_t>(j));
    return (key >= lanes.first) & (key < lanes.last) ? x : broadcast(-__builtin_inff());
  }

  /// `count` rows from row `r` of the chunk that starts with row `chunk`: P = exp(S - max), and what has been summed follows the maximum.
  void add_probabilities(KeyRange keys, std::int64_t begin, std::int64_t end, int chunk, int r, int count) const {
    const int row = chunk + r;
    const LaneRows lanes = lane_rows(keys, begin, end, row, count);
    float* logits = scratch_.logits + r;
    if (!lanes.whole || bends(p_)) {
      for (std::int64_t j = begin; j < end; ++j) store(logits + j * kLogitStride, shown(load(logits + j * kLogitStride), lanes, j));
    }
    Vec peaks[4] = {lanes.max, lanes.max, lanes.max, lanes.max};
    for (std::int64_t j = begin; j < end; j += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) peaks[i] = max_of(load(logits + (j + i) * kLogitStride), peaks[i]);  // a NaN loses
    }
    const Vec max = max_of(max_of(peaks[0], peaks[1]), max_of(peaks[2], peaks[3]));
    const Vec base = max == -__builtin_inff() ? Vec{} : max, factor = broadcast(logit_factor(p_));

    Vec totals[2] = {};
    for (std::int64_t j = begin; j < end; j += kDepthStep) {
      BitVec pairs[kPanelCols];
#pragma GCC unroll 4
      for (int i = 0; i < kPanelCols; ++i) {
        const float* from = logits + (j + 2 * i) * kLogitStride;
        const Vec low = exp2((load(from) - base) * factor), high = exp2((load(from + kLogitStride) - base) * factor);
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
    const Vec moved = max > lanes.max ? exp2((lanes.max - base) * factor) : broadcast(1.0f);
    float maxima[kLanes], sums[kLanes], factors[kLanes];
    store(maxima, max);
    store(sums, lanes.sum * moved + (totals[0] + totals[1]));
    store(factors, moved);
    for (int i = 0; i < count; ++i) {
      t_.max[row + i] = maxima[i];
      t_.sum[row + i] = sums[i];
      float* accumulator = t_.accumulator + (row + i) * stride_;
      for (std::int64_t d = 0; factors[i] != 1 && d < stride_; d += kLanes) store(accumulator + d, load(accumulator + d) * factors[i]);
    }
  }

  /// O += P V.
  ATTN_INLINE void add_values(KeyRange keys, std::int64_t begin, std::int64_t end, int first, int rows, bool poison) const {
    if (!poison) return add_rows(scratch_.values, begin, end, first, 0, rows);
    // Where a masked value is not finite, 0 · value would spoil the row: query by query, the others' values out of sight.
    for (int r = 0, next; r < rows; r = next) {
      next = static_cast<int>(min_of(r + p_.group_size - (t_.row_begin + first + r) % p_.group_size, rows));
      const KeyRange seen = row_keys(first + r, keys);
      keep_visible(scratch_.values, seen.begin, seen.end, begin, end, value_cols(p_), kValuePanel, scratch_.kept);
      add_rows(scratch_.kept, begin, end, first, r, next);
    }
  }

  ATTN_INLINE void add_rows(const BFloat* values, std::int64_t begin, std::int64_t end, int chunk, int first, int last) const {
    product_.multiply<true>(last - first, value_cols(p_), end - begin, scratch_.probabilities + first * kProbabilityStride + begin, kProbabilityStride,
                            values + begin * kPanelCols, kValuePanel, t_.accumulator + (chunk + first) * stride_, stride_);
  }

  const AttentionTile& t_;
  const AttentionProblem& p_;
  const SequenceSpan& span_;
  const ColumnScratch scratch_;
  const std::int64_t depth_, stride_;
  std::int64_t block_ = 0;  // the current block's first key
  bool as_they_lie_;        // keys need no copy where a page holds enough of them
  KvRows k_[2], v_;
  Bf16Product product_;
};

}  // namespace

std::size_t attention_columns_bf16_scratch(const AttentionProblem& problem, int num_rows) { return column_scratch(problem, num_rows, nullptr).bytes; }

void attention_columns_bf16(const AttentionTile& t) {
  clear_state(t);
  const KeyRange keys = tile_keys(t);
  if (keys.begin < keys.end) ColumnTask(t).run(keys);
}

}  // namespace attn::cpu::ATTN_ISA
