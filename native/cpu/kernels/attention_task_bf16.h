#pragma once
// What the shapes of attention for bfloat16 share (attention_tile_bf16.cpp, attention_columns_bf16.cpp, attention_rows_bf16.cpp): scratch,
// who sees what, and the second product, O += P V, chunk by chunk of the rows.

#include "cpu/kernels/attention_kv_bf16.h"
#include "cpu/kernels/attention_softmax_bf16.h"
#include "cpu/kernels/attention_stage_bf16.h"

namespace attn::cpu::ATTN_ISA {

/// A block is long, since for each of its values' columns the sums leave the registers once.
inline constexpr std::int64_t kBlockKeys = 256;
/// Rows whose logits and probabilities of a block stay near the L1 cache.
inline constexpr int kChunkRows = 32;
// Not a power of two, so that rows do not collide in the L1 cache.
inline constexpr std::int64_t kProbabilityStride = kBlockKeys + 32;

static_assert(kBlockKeys % kTileKv == 0, "options of the logits are applied by kTileKv keys");

/// What a task is made for.
struct Bf16Shape {
  std::int64_t query_rows;  // whole panels
  std::int64_t key_rows;    // that are copied or packed at a time
  std::int64_t value_keys;  // that are packed at a time
  std::int64_t values;      // elements of them
  std::int64_t logits;      // of one chunk
  std::int64_t chunk_rows = kChunkRows;
  std::int64_t block_keys = kBlockKeys;  // at most kBlockKeys
};

struct Bf16Scratch {
  BFloat* queries;        // [rows, depth], or packed
  BFloat* keys;           // [key_rows, depth], or packed
  BFloat* values;         // [value_cols / 16, value_keys / 2, 16 pairs]
  BFloat* kept;           // like values: those that one query sees
  BFloat* probabilities;  // [chunk_rows, kProbabilityStride]
  float* logits;          // of one chunk
  BFloat* staged;         // a block of keys, then one of values, where they are float8_e4m3
  std::size_t bytes;
};

/// Without memory, only the number of bytes.
ATTN_INLINE Bf16Scratch bf16_scratch(const AttentionProblem& p, const Bf16Shape& shape, std::byte* memory) {
  Bf16Scratch s;
  s.bytes = 0;
  const auto take = [&](std::int64_t bytes) {
    std::byte* taken = memory ? memory + s.bytes : nullptr;
    s.bytes += static_cast<std::size_t>(round_up(bytes, 64));
    return taken;
  };
  const auto take_elements = [&](std::int64_t count) { return reinterpret_cast<BFloat*>(take(count * 2)); };
  s.queries = take_elements(shape.query_rows * query_depth(p));
  s.keys = take_elements(shape.key_rows * query_depth(p));
  s.values = take_elements(shape.values);
  s.kept = take_elements(shape.values);
  s.probabilities = take_elements(shape.chunk_rows * kProbabilityStride);
  s.logits = reinterpret_cast<float*>(take(shape.logits * 4));
  s.staged = take_elements(staged_elements(p, shape.block_keys));
  return s;
}

/// What scratch.values holds: keys from number `key` of the block on, features [feature, feature + dim).
struct PackedValues {
  std::int64_t key, feature, dim;
  bool poison;  // some are not finite, and not every row sees them
};

class Bf16Task {
 protected:
  ATTN_INLINE Bf16Task(const AttentionTile& tile, const Bf16Shape& shape)
      : t_(tile),
        p_(*tile.problem),
        span_(*tile.sequence),
        scratch_(bf16_scratch(p_, shape, tile.scratch)),
        block_keys_(shape.block_keys),
        depth_(query_depth(p_)),
        stride_(accumulator_stride(p_)),
        value_panel_(shape.value_keys * kPanelCols),
        scale_(logit_scale(p_, span_, t_.kv_head)) {
    for (int part = 0; part < p_.num_parts; ++part) k_[part] = kv_rows(p_, span_, p_.k[part], span_.k_start[part], t_.kv_head);
    v_ = p_.v_in_k ? k_[0] : kv_rows(p_, span_, p_.v, span_.v_start, t_.kv_head);
    stages_ = is_float8(p_.k[0]);
    if (stages_) {
      for (int part = 0; part < p_.num_parts; ++part) stored_k_[part] = k_[part];
      stored_v_ = v_;
      read_staged();
    }
  }

  /// Calls add_block(keys) for each block that holds some of the keys; they count from the block's first key, block_.
  template <class Fn>
  ATTN_INLINE void each_block(KeyRange keys, Fn&& add_block) {
    for (block_ = keys.begin / block_keys_ * block_keys_; block_ < keys.end; block_ += block_keys_) {
      const KeyRange of_block{max_of(keys.begin - block_, 0), min_of(keys.end - block_, block_keys_)};
      if (stages_) stage(of_block);
      add_block(of_block);
    }
  }

  /// Of rows [first, end): maxima in units of the lse, features in their own order.
  ATTN_INLINE void finish_states(int first, int end) const {
    for (int r = first; r < end; ++r) {
      *max_at(r) *= scale_.natural;
      put_in_turn(accumulator_at(r), p_.head_dim_vo);
    }
  }

  // Rows are numbered head by head.
  ATTN_INLINE int num_rows() const { return t_.num_rows * t_.num_kv_heads; }
  ATTN_INLINE int head_of(int r) const { return r / t_.num_rows; }
  ATTN_INLINE float* max_at(int r) const { return t_.max + head_of(r) * t_.state_stride + r % t_.num_rows; }
  ATTN_INLINE float* sum_at(int r) const { return t_.sum + head_of(r) * t_.state_stride + r % t_.num_rows; }
  ATTN_INLINE float* accumulator_at(int r) const { return t_.accumulator + head_of(r) * t_.state_stride + r % t_.num_rows * stride_; }

  /// What row r sees of the block.
  ATTN_INLINE KeyRange row_keys(int r, KeyRange within) const {
    const KeyRange all = visible_keys(p_, span_, (t_.row_begin + r % t_.num_rows) / p_.group_size);
    return {max_of(all.begin - block_, within.begin), min_of(all.end - block_, within.end)};
  }

  ATTN_INLINE LogitRow options_of(int r) const {
    const std::int64_t row = t_.row_begin + r % t_.num_rows, head = (t_.kv_head + head_of(r)) * static_cast<std::int64_t>(p_.group_size) + row % p_.group_size;
    return logit_row(p_, span_, row / p_.group_size, head, block_);
  }

  /// The row's sums so far follow its maximum.
  ATTN_INLINE void rescale(int r, float factor) const {
    float* accumulator = accumulator_at(r);
    for (std::int64_t d = 0; d < stride_; d += kLanes) store(accumulator + d, load(accumulator + d) * factor);
  }

  /// O += P V for rows [first, end) of one kv head, of the chunk that starts with row `chunk`; `steps` are keys that are packed, whole steps of the depth.
  ATTN_INLINE void add_values(KeyRange keys, KeyRange steps, int chunk, int first, int end, const PackedValues& packed, const BFloat* values) const {
    if (!packed.poison) return add_rows(values, steps, chunk, first, end, packed);
    // Where a masked value is not finite, 0 · value would spoil the row: query by query, the others' values out of sight.
    for (int r = first, next; r < end; r = next) {
      next = static_cast<int>(min_of(r + p_.group_size - (t_.row_begin + r % t_.num_rows) % p_.group_size, end));
      const KeyRange seen = row_keys(r, keys);
      keep_visible(values, seen.begin - packed.key, seen.end - packed.key, steps.begin - packed.key, steps.end - packed.key, round_up(packed.dim, kPanelCols),
                   value_panel_, scratch_.kept);
      add_rows(scratch_.kept, steps, chunk, r, next, packed);
    }
  }

  const AttentionTile& t_;
  const AttentionProblem& p_;
  const SequenceSpan& span_;
  const Bf16Scratch scratch_;
  const std::int64_t block_keys_;
  const std::int64_t depth_, stride_;
  const std::int64_t value_panel_;  // elements of 16 columns of packed values
  const LogitScale scale_;
  std::int64_t block_ = 0;  // the current block's first key
  KvRows k_[2], v_;         // as they are multiplied
  Bf16Product product_;

 private:
  bool stages_;                    // rows are not multiplied as they are stored
  KvRows stored_k_[2], stored_v_;  // then

  /// The current block's rows come from scratch.
  ATTN_INLINE void read_staged() {
    const std::int64_t width = staged_key_width(p_);
    k_[0] = staged_rows(scratch_.staged, block_, width, p_.k[0].dim);
    if (p_.num_parts == 2) k_[1] = staged_rows(scratch_.staged + part_depth(p_.k[0].dim), block_, width, p_.k[1].dim);
    v_ = p_.v_in_k ? k_[0] : staged_rows(scratch_.staged + block_keys_ * width, block_, staged_value_width(p_), p_.v.dim);
  }

  ATTN_INLINE void stage(KeyRange keys) {
    const std::int64_t width = staged_key_width(p_);
    read_staged();
    stage_rows(stored_k_[0], block_, keys.begin, keys.end, scratch_.staged, width);
    if (p_.num_parts == 2) stage_rows(stored_k_[1], block_, keys.begin, keys.end, scratch_.staged + part_depth(p_.k[0].dim), width);
    if (!p_.v_in_k) stage_rows(stored_v_, block_, keys.begin, keys.end, scratch_.staged + block_keys_ * width, staged_value_width(p_));
  }

  ATTN_INLINE void add_rows(const BFloat* values, KeyRange steps, int chunk, int first, int end, const PackedValues& packed) const {
    product_.template multiply<true>(end - first, round_up(packed.dim, kPanelCols), steps.end - steps.begin,
                                     scratch_.probabilities + (first - chunk) * kProbabilityStride + steps.begin, kProbabilityStride,
                                     values + (steps.begin - packed.key) * kPanelCols, value_panel_, accumulator_at(first) + packed.feature, stride_);
  }
};

}  // namespace attn::cpu::ATTN_ISA
