// Many query rows of bfloat16 against one kv head, block by block of the keys, by products of bfloat16 pairs:
//   S = Q Kᵀ;  P = exp(S - max), rounded to bfloat16;  O = O · exp(old max - max) + P V;  sum likewise, before the rounding
// Keys and values are packed once per block for all rows of the group: keys transposed by pairs of features, values by pairs of
// keys. A block is long, since for each of its values' columns the sums leave the registers once.
// Scratch: rows · depth + kBlockKeys · (depth + 2 · head_dim_vo) bfloat16, and kChunkRows · kBlockKeys logits. Any head dims, strides.

#include "cpu/kernels/attention_kv_bf16.h"
#include "cpu/kernels/attention_softmax_bf16.h"

namespace attn::cpu::ATTN_ISA {
namespace {

constexpr std::int64_t kBlockKeys = 256;
/// Rows whose logits and probabilities stay near while the block's panels pass by.
constexpr int kChunkRows = 32;
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
  BFloat* probabilities;  // [kChunkRows, kProbabilityStride]
  float* logits;          // [kChunkRows, kLogitStride]
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
  s.probabilities = take_elements(kChunkRows * kProbabilityStride);
  s.logits = reinterpret_cast<float*>(take(kChunkRows * kLogitStride * 4));
  return s;
}

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

  void run(KeyRange keys) const {
    copy_queries(t_, scratch_.queries);
    for (std::int64_t block = keys.begin / kBlockKeys * kBlockKeys; block < keys.end; block += kBlockKeys) {
      add_block(block, {max_of(keys.begin - block, 0), min_of(keys.end - block, kBlockKeys)});
    }
    finish();
  }

 private:
  /// What row r sees of the block.
  ATTN_INLINE KeyRange row_keys(int r, std::int64_t block, KeyRange within) const {
    const KeyRange all = visible_keys(p_, span_, (t_.row_begin + r) / p_.group_size);
    return {max_of(all.begin - block, within.begin), min_of(all.end - block, within.end)};
  }

  ATTN_INLINE void add_block(std::int64_t block, KeyRange keys) const {
    // The rows that see any of the block follow one another, since both ends of a row's range never fall.
    int first = 0, end = t_.num_rows;
    while (first < end && row_keys(first, block, keys).end <= keys.begin) ++first;
    while (end > first && row_keys(end - 1, block, keys).begin >= keys.end) --end;
    if (first == end) return;
    const bool edge = row_keys(end - 1, block, keys).begin > keys.begin || row_keys(first, block, keys).end < keys.end;

    std::int64_t offset = 0;
    for (int part = 0; part < p_.num_parts; ++part) {
      pack_keys(k_[part], block, keys.begin, keys.end, depth_, offset, scratch_.keys);
      offset += part_depth(k_[part].dim);
    }
    const bool poison = pack_values(v_, block, keys.begin, keys.end, p_.head_dim_vo, kValuePanel, scratch_.values, edge);
    for (int row = first; row < end; row += kChunkRows) {
      const int row_end = static_cast<int>(min_of(row + kChunkRows, end));
      // Of an edge block only the keys that these rows see: half of a diagonal block is nobody's.
      const KeyRange seen = edge ? KeyRange{row_keys(row, block, keys).begin, row_keys(row_end - 1, block, keys).end} : keys;
      add_chunk(block, seen, row, row_end, poison);
    }
  }

  /// The packed block, whose keys `seen` the rows [first, end) see.
  ATTN_INLINE void add_chunk(std::int64_t block, KeyRange seen, int first, int end, bool poison) const {
    const std::int64_t col = seen.begin / kDepthStep * kDepthStep, cols = round_up(seen.end, kDepthStep) - col;
    const std::int64_t panel = seen.begin / kPanelCols * kPanelCols, panels = round_up(seen.end, kPanelCols) - panel;
    product_.multiply<false>(end - first, panels, depth_, scratch_.queries + first * depth_, depth_, scratch_.keys + panel * depth_,
                             depth_ * kPanelCols, scratch_.logits + panel, kLogitStride);

    std::int64_t query = (t_.row_begin + first) / p_.group_size;
    std::int64_t member = (t_.row_begin + first) % p_.group_size;
    for (int r = first; r < end; ++r, ++member) {
      if (member == p_.group_size) {
        member = 0;
        ++query;
      }
      BFloat* probabilities = scratch_.probabilities + (r - first) * kProbabilityStride;
      const KeyRange keys = row_keys(r, block, seen);
      if (keys.begin >= keys.end) {
        for (std::int64_t j = col; j < col + cols; j += kDepthStep) store_elements(probabilities + j, BitVec{});
        continue;
      }
      const std::int64_t head = t_.kv_head * static_cast<std::int64_t>(p_.group_size) + member;
      const float factor = softmax_row(scratch_.logits + (r - first) * kLogitStride, logit_row(p_, span_, query, head, block), keys.begin, keys.end,
                                       col, col + cols, probabilities, t_.max + r, t_.sum + r);
      float* accumulator = t_.accumulator + r * stride_;
      for (std::int64_t d = 0; factor != 1 && d < stride_; d += kLanes) store(accumulator + d, load(accumulator + d) * factor);
    }
    if (!poison) return add_values(scratch_.values, first, end, first, col, cols);
    // Where a masked value is not finite, 0 · value would spoil the row: query by query, the others' values out of sight.
    for (int r = first, next; r < end; r = next) {
      const std::int64_t row = t_.row_begin + r;
      next = static_cast<int>(min_of(r + p_.group_size - row % p_.group_size, end));
      const KeyRange keys = row_keys(r, block, seen);
      keep_visible(scratch_.values, keys.begin, keys.end, col, col + cols, value_cols(p_), kValuePanel, scratch_.kept);
      add_values(scratch_.kept, r, next, first, col, cols);
    }
  }

  /// O += P V for the rows [begin, end) of a chunk that starts with row `chunk`.
  ATTN_INLINE void add_values(const BFloat* values, int begin, int end, int chunk, std::int64_t col, std::int64_t cols) const {
    product_.multiply<true>(end - begin, value_cols(p_), cols, scratch_.probabilities + (begin - chunk) * kProbabilityStride + col, kProbabilityStride,
                            values + col * kPanelCols, kValuePanel, t_.accumulator + begin * stride_, stride_);
  }

  void finish() const {
    for (int r = 0; r < t_.num_rows; ++r) {
      const std::int64_t row = t_.row_begin + r, head = t_.kv_head * static_cast<std::int64_t>(p_.group_size) + row % p_.group_size;
      t_.max[r] = natural_max(logit_row(p_, span_, row / p_.group_size, head, 0), t_.max[r]);
      put_in_turn(t_.accumulator + r * stride_, p_.head_dim_vo);
    }
  }

  const AttentionTile& t_;
  const AttentionProblem& p_;
  const SequenceSpan& span_;
  const TileScratch scratch_;
  const std::int64_t depth_, stride_;
  KvRows k_[2], v_;
  Bf16Product product_;
};

}  // namespace

std::size_t attention_tile_bf16_scratch(const AttentionProblem& problem, int num_rows) { return tile_scratch(problem, num_rows, nullptr).bytes; }

void attention_tile_bf16(const AttentionTile& t) {
  clear_state(t);
  const KeyRange keys = tile_keys(t);
  if (keys.begin < keys.end) TileTask(t).run(keys);
}

}  // namespace attn::cpu::ATTN_ISA
