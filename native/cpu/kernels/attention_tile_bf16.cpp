// Many query rows of bfloat16 against one kv head, block by block of the keys, by products of bfloat16 pairs:
//   S = Q Kᵀ;  P = exp(S - max), rounded to bfloat16;  O = O · exp(old max - max) + P V;  sum likewise, before the rounding
// Keys and values are packed once per block for all rows of the group: keys transposed by pairs of features, values by pairs of
// keys.
// Chunks of rows are so small that their logits stay in the L1 cache, past which the packed operands stream.
// Scratch: rows · depth + kBlockKeys · (depth + 2 · head_dim_vo) bfloat16, and one chunk's logits. Any head dims, strides.

#include "cpu/kernels/attention_task_bf16.h"

namespace attn::cpu::ATTN_ISA {
namespace {

/// Up to as many rows of a sequence, packing keys costs more than transposing probabilities.
constexpr std::int64_t kColumnRows = 64;
// Not a power of two, so that rows do not collide in the L1 cache.
constexpr std::int64_t kLogitStride = kBlockKeys + 16;

ATTN_INLINE Bf16Shape tile_shape(const AttentionProblem& p, int rows) {
  return {round_up(rows, kPanelCols), kBlockKeys, kBlockKeys, kBlockKeys * value_cols(p), kChunkRows * kLogitStride};
}

/// Rows [first, end) of the tile against the keys `steps` of a block, whole steps of the depth.
struct Chunk {
  int first, end;
  KeyRange steps;
};

class TileTask : Bf16Task {
 public:
  explicit TileTask(const AttentionTile& tile) : Bf16Task(tile, tile_shape(*tile.problem, tile.num_rows)) {}

  void run(KeyRange keys) {
    copy_queries(t_, scratch_.queries);
    each_block(keys, [this](KeyRange of_block) { add_block(of_block); });
    finish_until(t_.num_rows);
  }

 private:
  int finished_ = 0;

  ATTN_INLINE void finish_until(int end) {
    finish_states(finished_, end);
    if (t_.write_row && finished_ < end) write_outputs(t_, finished_, end);
    finished_ = end;
  }

  ATTN_INLINE void add_block(KeyRange keys) {
    // The rows that see any of the block follow one another, since both ends of a row's range never fall.
    int first = 0, end = t_.num_rows;
    while (first < end && row_keys(first, keys).end <= keys.begin) ++first;
    while (end > first && row_keys(end - 1, keys).begin >= keys.end) --end;
    if (first == end) return;
    const bool edge = row_keys(end - 1, keys).begin > keys.begin || row_keys(first, keys).end < keys.end;

    std::int64_t offset = 0;
    for (int part = 0; part < p_.num_parts; ++part) {
      pack_keys(k_[part], block_, keys.begin, keys.end, depth_, offset, scratch_.keys);
      offset += part_depth(k_[part].dim);
    }
    const bool poison = pack_values(v_, block_, keys.begin, keys.end, p_.head_dim_vo, value_panel_, scratch_.values, edge);
    for (int row = first; row < end; row += kChunkRows) {
      const Chunk chunk = chunk_of(row, end, keys, edge);
      add_scores(chunk);
      if (edge || scale_.bent || keys.begin > chunk.steps.begin || keys.end < chunk.steps.end) mask(chunk, keys);
      add_probabilities(chunk);
      add_values(keys, chunk.steps, chunk.first, chunk.first, chunk.end, {0, 0, p_.head_dim_vo, poison}, scratch_.values);
      if (keys_end(t_, chunk.end - 1) <= block_ + block_keys_) finish_until(chunk.end);
    }
  }

  ATTN_INLINE Chunk chunk_of(int first, int end, KeyRange keys, bool edge) const {
    Chunk chunk;
    chunk.first = first;
    chunk.end = static_cast<int>(min_of(first + kChunkRows, end));
    // Of an edge block only the keys that these rows see: half of a diagonal block is nobody's.
    const KeyRange seen = edge ? KeyRange{row_keys(first, keys).begin, row_keys(chunk.end - 1, keys).end} : keys;
    chunk.steps = {seen.begin / kDepthStep * kDepthStep, round_up(seen.end, kDepthStep)};
    return chunk;
  }

  /// S = Q Kᵀ. Panels of keys beyond those that are packed hold what they held: mask() hides it.
  ATTN_INLINE void add_scores(const Chunk& chunk) const {
    product_.multiply<false>(chunk.end - chunk.first, chunk.steps.end - chunk.steps.begin, depth_, scratch_.queries + chunk.first * depth_, depth_,
                             scratch_.keys + chunk.steps.begin * depth_, depth_ * kPanelCols, scratch_.logits + chunk.steps.begin, kLogitStride);
  }

  ATTN_INLINE void mask(const Chunk& chunk, KeyRange keys) const {
    for (int r = chunk.first; r < chunk.end; ++r) {
      const KeyRange seen = row_keys(r, keys);
      float* logits = scratch_.logits + (r - chunk.first) * kLogitStride;
      if (scale_.bent) bend_row(logits, options_of(r), seen.begin, seen.end);
      mask_row(logits, seen.begin, seen.end, chunk.steps.begin, chunk.steps.end);
    }
  }

  /// P = exp(S - max), and what has been summed follows the maximum. Two passes: within one, rows would wait for one another.
  ATTN_INLINE void add_probabilities(const Chunk& chunk) const {
    const std::int64_t count = chunk.steps.end - chunk.steps.begin;
    const float* logits = scratch_.logits + chunk.steps.begin;
    for (int r = chunk.first; r < chunk.end; ++r, logits += kLogitStride) {
      const float moved = raise_row_logit(logits, count, scale_.factor, t_.max + r);
      if (moved == 1) continue;
      t_.sum[r] *= moved;
      rescale(r, moved);
    }
    logits = scratch_.logits + chunk.steps.begin;
    BFloat* probabilities = scratch_.probabilities + chunk.steps.begin;
    for (int r = chunk.first; r < chunk.end; ++r, logits += kLogitStride, probabilities += kProbabilityStride) {
      t_.sum[r] += exponentiate_row(logits, count, scale_.factor, t_.max[r], probabilities);
    }
  }
};

}  // namespace

std::size_t attention_bf16_scratch(const AttentionProblem& problem, int num_rows) {
  const std::size_t columns = attention_columns_bf16_scratch(problem, num_rows), tile = bf16_scratch(problem, tile_shape(problem, num_rows), nullptr).bytes;
  return problem.v_in_k || columns > tile ? columns : tile;
}

void attention_bf16(const AttentionTile& t) {
  // By the sequence's rows and not by the tile's: how many these are follows from the number of threads, and the results differ in their last bits.
  if (t.problem->v_in_k || t.sequence->qo_len * t.problem->group_size <= kColumnRows) return attention_columns_bf16(t);
  clear_state(t);
  const KeyRange keys = tile_keys(t);
  if (keys.begin >= keys.end) return finish_heads(t);
  TileTask(t).run(keys);
}

}  // namespace attn::cpu::ATTN_ISA
