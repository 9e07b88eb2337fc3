// Many query rows of bfloat16 against one kv head, block by block of the keys, by products of bfloat16 pairs:
//   S = Q Kᵀ;  P = exp(S - max), rounded to bfloat16;  O = O · exp(old max - max) + P V;  sum likewise, before the rounding
// Keys and values are packed once per block for all rows of the group: keys transposed by pairs of features, values by pairs of
// keys. A block is long, since for each of its values' columns the sums leave the registers once.
// Chunks of rows are so small that their logits stay in the L1 cache, past which the packed operands stream.
// Scratch: rows · depth + kBlockKeys · (depth + 2 · head_dim_vo) bfloat16, and one chunk's logits. Any head dims, strides.

#include "cpu/kernels/attention_kv_bf16.h"
#include "cpu/kernels/attention_softmax_bf16.h"

namespace attn::cpu::ATTN_ISA {
namespace {

constexpr std::int64_t kBlockKeys = 256;
/// Rows whose logits and probabilities stay in the L1 cache while the block's panels pass by.
constexpr int kChunkRows = 32;
/// Up to as many rows of a sequence, packing keys costs more than transposing probabilities.
constexpr std::int64_t kColumnRows = 64;
// Not powers of two, so that rows do not collide in the L1 cache.
constexpr std::int64_t kLogitStride = kBlockKeys + 16;
constexpr std::int64_t kProbabilityStride = kBlockKeys + 32;
constexpr std::int64_t kValuePanel = kBlockKeys * kPanelCols;

static_assert(kBlockKeys % kTileKv == 0, "options of the logits are applied by kTileKv keys");

struct TileScratch {
  BFloat* queries;        // [rows, depth]
  BFloat* keys;           // [kBlockKeys / 16, depth / 2, 16 pairs]
  BFloat* values;         // [value_cols / 16, kBlockKeys / 2, 16 pairs]
  BFloat* kept;           // like values: those that one query sees
  float* logits;          // [kChunkRows, kLogitStride]
  BFloat* probabilities;  // [kChunkRows, kProbabilityStride]
  std::size_t bytes;
};

/// Without memory, only the number of bytes.
ATTN_INLINE TileScratch tile_scratch(const AttentionProblem& p, int rows, std::byte* memory) {
  TileScratch s;
  s.bytes = 0;
  const auto take = [&](std::int64_t bytes) {
    std::byte* taken = memory ? memory + s.bytes : nullptr;
    s.bytes += static_cast<std::size_t>(round_up(bytes, 64));
    return taken;
  };
  const auto take_elements = [&](std::int64_t count) { return reinterpret_cast<BFloat*>(take(count * 2)); };
  s.queries = take_elements(rows * query_depth(p));
  s.keys = take_elements(kBlockKeys * query_depth(p));
  s.values = take_elements(kBlockKeys * value_cols(p));
  s.kept = take_elements(kBlockKeys * value_cols(p));
  s.logits = reinterpret_cast<float*>(take(kChunkRows * kLogitStride * 4));
  s.probabilities = take_elements(kChunkRows * kProbabilityStride);
  return s;
}

/// Rows [first, end) of the tile against the keys [col, col + cols) of a block, whole steps of the depth.
struct Chunk {
  int first, end;
  std::int64_t col, cols;
};

class TileTask {
 public:
  TileTask(const AttentionTile& tile)
      : t_(tile),
        p_(*tile.problem),
        span_(*tile.sequence),
        scratch_(tile_scratch(p_, tile.num_rows, tile.scratch)),
        depth_(query_depth(p_)),
        stride_(accumulator_stride(p_)) {
    for (int part = 0; part < p_.num_parts; ++part) k_[part] = kv_rows(p_, span_, p_.k[part], span_.k_start[part], t_.kv_head);
    v_ = p_.v_in_k ? k_[0] : kv_rows(p_, span_, p_.v, span_.v_start, t_.kv_head);
  }

  void run(KeyRange keys) {
    copy_queries(t_, scratch_.queries);
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

  ATTN_INLINE LogitRow options_of(int r) const {
    const std::int64_t row = t_.row_begin + r, head = t_.kv_head * static_cast<std::int64_t>(p_.group_size) + row % p_.group_size;
    return logit_row(p_, span_, row / p_.group_size, head, block_);
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
    const bool poison = pack_values(v_, block_, keys.begin, keys.end, p_.head_dim_vo, kValuePanel, scratch_.values, edge);

    for (int row = first; row < end; row += kChunkRows) {
      const Chunk chunk = chunk_of(row, end, keys, edge);
      add_scores(chunk);
      if (edge || bends(p_) || keys.begin > chunk.col || keys.end < chunk.col + chunk.cols) mask(chunk, keys);
      add_probabilities(chunk);
      add_values(chunk, keys, poison);
    }
  }

  ATTN_INLINE Chunk chunk_of(int first, int end, KeyRange keys, bool edge) const {
    Chunk chunk;
    chunk.first = first;
    chunk.end = static_cast<int>(min_of(first + kChunkRows, end));
    // Of an edge block only the keys that these rows see: half of a diagonal block is nobody's.
    const KeyRange seen = edge ? KeyRange{row_keys(first, keys).begin, row_keys(chunk.end - 1, keys).end} : keys;
    chunk.col = seen.begin / kDepthStep * kDepthStep;
    chunk.cols = round_up(seen.end, kDepthStep) - chunk.col;
    return chunk;
  }

  /// S = Q Kᵀ. Panels of keys beyond those that are packed hold what they held: mask() hides it.
  ATTN_INLINE void add_scores(const Chunk& chunk) const {
    product_.multiply<false>(chunk.end - chunk.first, chunk.cols, depth_, scratch_.queries + chunk.first * depth_, depth_, scratch_.keys + chunk.col * depth_,
                             depth_ * kPanelCols, scratch_.logits + chunk.col, kLogitStride);
  }

  ATTN_INLINE void mask(const Chunk& chunk, KeyRange keys) const {
    for (int r = chunk.first; r < chunk.end; ++r) {
      const KeyRange seen = row_keys(r, keys);
      mask_logits(scratch_.logits + (r - chunk.first) * kLogitStride, p_, options_of(r), seen.begin, seen.end, chunk.col, chunk.col + chunk.cols);
    }
  }

  /// P = exp(S - max), and what has been summed follows the maximum. Two passes: within one, rows do not wait for one another.
  ATTN_INLINE void add_probabilities(const Chunk& chunk) const {
    const float factor = logit_factor(p_);
    const float* logits = scratch_.logits + chunk.col;
    for (int r = chunk.first; r < chunk.end; ++r, logits += kLogitStride) {
      const float moved = raise_max(logits, chunk.cols, factor, t_.max + r);
      if (moved == 1) continue;
      t_.sum[r] *= moved;
      float* accumulator = t_.accumulator + r * stride_;
      for (std::int64_t d = 0; d < stride_; d += kLanes) store(accumulator + d, load(accumulator + d) * moved);
    }
    logits = scratch_.logits + chunk.col;
    BFloat* probabilities = scratch_.probabilities + chunk.col;
    for (int r = chunk.first; r < chunk.end; ++r, logits += kLogitStride, probabilities += kProbabilityStride) {
      t_.sum[r] += exponentials(logits, chunk.cols, factor, t_.max[r], probabilities);
    }
  }

  /// O += P V.
  ATTN_INLINE void add_values(const Chunk& chunk, KeyRange keys, bool poison) const {
    if (!poison) return add_rows(chunk, scratch_.values, chunk.first, chunk.end);
    // Where a masked value is not finite, 0 · value would spoil the row: query by query, the others' values out of sight.
    for (int r = chunk.first, next; r < chunk.end; r = next) {
      next = static_cast<int>(min_of(r + p_.group_size - (t_.row_begin + r) % p_.group_size, chunk.end));
      const KeyRange seen = row_keys(r, keys);
      keep_visible(scratch_.values, seen.begin, seen.end, chunk.col, chunk.col + chunk.cols, value_cols(p_), kValuePanel, scratch_.kept);
      add_rows(chunk, scratch_.kept, r, next);
    }
  }

  ATTN_INLINE void add_rows(const Chunk& chunk, const BFloat* values, int begin, int end) const {
    product_.multiply<true>(end - begin, value_cols(p_), chunk.cols, scratch_.probabilities + (begin - chunk.first) * kProbabilityStride + chunk.col,
                            kProbabilityStride, values + chunk.col * kPanelCols, kValuePanel, t_.accumulator + begin * stride_, stride_);
  }

  const AttentionTile& t_;
  const AttentionProblem& p_;
  const SequenceSpan& span_;
  const TileScratch scratch_;
  const std::int64_t depth_, stride_;
  std::int64_t block_ = 0;  // the current block's first key
  KvRows k_[2], v_;
  Bf16Product product_;
};

}  // namespace

std::size_t attention_bf16_scratch(const AttentionProblem& problem, int num_rows) {
  const std::int64_t columns = attention_columns_bf16_scratch(problem, num_rows), tile = tile_scratch(problem, num_rows, nullptr).bytes;
  return static_cast<std::size_t>(problem.v_in_k ? columns : max_of(columns, tile));
}

void attention_bf16(const AttentionTile& t) {
  // By the sequence's rows and not by the tile's: how many these are follows from the number of threads, and the results differ in their last bits.
  if (t.problem->v_in_k || t.sequence->qo_len * t.problem->group_size <= kColumnRows) return attention_columns_bf16(t);
  clear_state(t);
  const KeyRange keys = tile_keys(t);
  if (keys.begin < keys.end) TileTask(t).run(keys);
}

}  // namespace attn::cpu::ATTN_ISA
