#pragma once
// What both shapes of attention for bfloat16 share (attention_tile_bf16.cpp, attention_columns_bf16.cpp): scratch, who sees what,
// and the second product, O += P V, chunk by chunk of the rows.

#include "cpu/kernels/attention_kv_bf16.h"
#include "cpu/kernels/attention_softmax_bf16.h"

namespace attn::cpu::ATTN_ISA {

/// A block is long, since for each of its values' columns the sums leave the registers once.
inline constexpr std::int64_t kBlockKeys = 256;
/// Rows whose logits and probabilities of a block stay near the L1 cache.
inline constexpr int kChunkRows = 32;
// Not a power of two, so that rows do not collide in the L1 cache.
inline constexpr std::int64_t kProbabilityStride = kBlockKeys + 32;
inline constexpr std::int64_t kValuePanel = kBlockKeys * kPanelCols;

static_assert(kBlockKeys % kTileKv == 0, "options of the logits are applied by kTileKv keys");

struct Bf16Scratch {
  BFloat* queries;        // [rows, depth], or packed
  BFloat* keys;           // [key_rows, depth], or packed
  BFloat* values;         // [value_cols / 16, kBlockKeys / 2, 16 pairs]
  BFloat* kept;           // like values: those that one query sees
  BFloat* probabilities;  // [kChunkRows, kProbabilityStride]
  float* logits;          // of one chunk
  std::size_t bytes;
};

/// Without memory, only the number of bytes.
ATTN_INLINE Bf16Scratch bf16_scratch(const AttentionProblem& p, int rows, std::int64_t key_rows, std::int64_t logits, std::byte* memory) {
  Bf16Scratch s;
  s.bytes = 0;
  const auto take = [&](std::int64_t bytes) {
    std::byte* taken = memory ? memory + s.bytes : nullptr;
    s.bytes += static_cast<std::size_t>(round_up(bytes, 64));
    return taken;
  };
  const auto take_elements = [&](std::int64_t count) { return reinterpret_cast<BFloat*>(take(count * 2)); };
  s.queries = take_elements(round_up(rows, kPanelCols) * query_depth(p));
  s.keys = take_elements(key_rows * query_depth(p));
  s.values = take_elements(kBlockKeys * value_cols(p));
  s.kept = take_elements(kBlockKeys * value_cols(p));
  s.probabilities = take_elements(kChunkRows * kProbabilityStride);
  s.logits = reinterpret_cast<float*>(take(logits * 4));
  return s;
}

class Bf16Task {
 protected:
  ATTN_INLINE Bf16Task(const AttentionTile& tile, const Bf16Scratch& scratch)
      : t_(tile),
        p_(*tile.problem),
        span_(*tile.sequence),
        scratch_(scratch),
        depth_(query_depth(p_)),
        stride_(accumulator_stride(p_)),
        scale_(logit_scale(p_)) {
    for (int part = 0; part < p_.num_parts; ++part) k_[part] = kv_rows(p_, span_, p_.k[part], span_.k_start[part], t_.kv_head);
    v_ = p_.v_in_k ? k_[0] : kv_rows(p_, span_, p_.v, span_.v_start, t_.kv_head);
  }

  /// Calls add_block(keys) for each block that holds some of the keys; they count from the block's first key, block_.
  template <class Fn>
  ATTN_INLINE void each_block(KeyRange keys, Fn&& add_block) {
    for (block_ = keys.begin / kBlockKeys * kBlockKeys; block_ < keys.end; block_ += kBlockKeys) {
      add_block(KeyRange{max_of(keys.begin - block_, 0), min_of(keys.end - block_, kBlockKeys)});
    }
  }

  /// Maxima in units of the lse, features in their own order.
  ATTN_INLINE void finish() const {
    for (int r = 0; r < t_.num_rows; ++r) {
      t_.max[r] *= scale_.natural;
      put_in_turn(t_.accumulator + r * stride_, p_.head_dim_vo);
    }
  }

  /// What row r sees of the block.
  ATTN_INLINE KeyRange row_keys(int r, KeyRange within) const {
    const KeyRange all = visible_keys(p_, span_, (t_.row_begin + r) / p_.group_size);
    return {max_of(all.begin - block_, within.begin), min_of(all.end - block_, within.end)};
  }

  ATTN_INLINE LogitRow options_of(int r) const {
    const std::int64_t row = t_.row_begin + r, head = t_.kv_head * static_cast<std::int64_t>(p_.group_size) + row % p_.group_size;
    return logit_row(p_, span_, row / p_.group_size, head, block_);
  }

  /// The row's sums so far follow its maximum.
  ATTN_INLINE void rescale(int r, float factor) const {
    float* accumulator = t_.accumulator + r * stride_;
    for (std::int64_t d = 0; d < stride_; d += kLanes) store(accumulator + d, load(accumulator + d) * factor);
  }

  /// O += P V for the chunk of rows [first, end) and the keys [begin, end of keys), whole steps of the depth.
  ATTN_INLINE void add_values(KeyRange keys, KeyRange steps, int first, int end, bool poison) const {
    if (!poison) return add_rows(scratch_.values, steps, first, first, end);
    // Where a masked value is not finite, 0 · value would spoil the row: query by query, the others' values out of sight.
    for (int r = first, next; r < end; r = next) {
      next = static_cast<int>(min_of(r + p_.group_size - (t_.row_begin + r) % p_.group_size, end));
      const KeyRange seen = row_keys(r, keys);
      keep_visible(scratch_.values, seen.begin, seen.end, steps.begin, steps.end, value_cols(p_), kValuePanel, scratch_.kept);
      add_rows(scratch_.kept, steps, first, r, next);
    }
  }

  const AttentionTile& t_;
  const AttentionProblem& p_;
  const SequenceSpan& span_;
  const Bf16Scratch scratch_;
  const std::int64_t depth_, stride_;
  const LogitScale scale_;
  std::int64_t block_ = 0;  // the current block's first key
  KvRows k_[2], v_;
  Bf16Product product_;

 private:
  ATTN_INLINE void add_rows(const BFloat* values, KeyRange steps, int chunk, int first, int end) const {
    product_.template multiply<true>(end - first, value_cols(p_), steps.end - steps.begin,
                                     scratch_.probabilities + (first - chunk) * kProbabilityStride + steps.begin, kProbabilityStride,
                                     values + steps.begin * kPanelCols, kValuePanel, t_.accumulator + first * stride_, stride_);
  }
};

}  // namespace attn::cpu::ATTN_ISA
