// Few query rows of bfloat16 against one kv head, block by block of the keys, with the keys as rows of the first product:
//   Sᵀ = K Qᵀ;  P = exp(S - max), rounded to bfloat16;  O = O · exp(old max - max) + P V;  sum likewise, before the rounding
// Keys are not packed: a row of keys is an operand as it lies in memory, a page's too. Queries are packed once, values once per
// block, and where values are part of the keys (MLA) one reading from memory serves both. Rows of queries are lanes of Sᵀ, so that their
// maxima and sums need no steps across lanes; P is transposed on its way to the second product.
// Scratch: (rows + kGroupKeys) · depth + 2 · kBlockKeys · head_dim_vo bfloat16, and Sᵀ of kChunkRows rows. Any head dims, strides.

#include "cpu/kernels/attention_columns_bf16.h"

namespace attn::cpu::ATTN_ISA {
namespace {

// Not a power of two, so that rows do not collide in the L1 cache.
constexpr std::int64_t kLogitStride = kChunkRows + 16;

ATTN_INLINE Bf16Shape column_shape(const AttentionProblem& p, int rows) {
  return {round_up(rows, kPanelCols), kCopiedKeys, kBlockKeys, kBlockKeys * value_cols(p), kBlockKeys * kLogitStride};
}

class ColumnTask : Bf16ColumnTask {
 public:
  explicit ColumnTask(const AttentionTile& tile) : Bf16ColumnTask(tile, column_shape(*tile.problem, tile.num_rows), kLogitStride) {}

  void run(KeyRange keys) {
    pack_queries(t_, scratch_.queries);
    each_block(keys, [this](KeyRange of_block) { add_block(of_block); });
    finish_states(0, num_rows());
  }

 private:
  ATTN_INLINE void add_block(KeyRange keys) const {
    const KeyRange steps{keys.begin / kDepthStep * kDepthStep, round_up(keys.end, kDepthStep)};
    const bool edge = row_keys(t_.num_rows - 1, keys).begin > keys.begin || row_keys(0, keys).end < keys.end;
    const bool poison = pack_values(v_, block_, keys.begin, keys.end, p_.head_dim_vo, value_panel_, scratch_.values, edge);
    for (int first = 0; first < t_.num_rows; first += kChunkRows) {
      const int end = static_cast<int>(min_of(first + kChunkRows, t_.num_rows));
      add_scores(keys, steps, 0, scratch_.queries + first * depth_, end - first, 0);
      for (int r = first; r < end; r += kLanes) add_probabilities(keys, steps, first, r, static_cast<int>(min_of(kLanes, end - r)));
      add_values(keys, steps, first, first, end, {0, 0, p_.head_dim_vo, poison}, scratch_.values);
    }
  }
};

}  // namespace

std::size_t attention_columns_bf16_scratch(const AttentionProblem& problem, int num_rows) {
  return bf16_scratch(problem, column_shape(problem, num_rows), nullptr).bytes;
}

void attention_columns_bf16(const AttentionTile& t) {
  clear_state(t);
  const KeyRange keys = tile_keys(t);
  if (keys.begin < keys.end) ColumnTask(t).run(keys);
  finish_heads(t);
}

}  // namespace attn::cpu::ATTN_ISA
