// Few query rows of bfloat16 per kv head (decoding), those of several kv heads together, block by block of the keys:
//   Sᵀ = K Qᵀ head by head;  P = exp(S - max), rounded to bfloat16, of all rows at once;  O = O · exp(old max - max) + P V head by head
// Rows are fetched in the order in which they lie, all heads of each: values while the scores of their block are computed, the next block's
// keys while values are added. A block's keys and values stay in the L2 cache. Takes what attention_rows takes; its notes on heads hold here too.
// Scratch: 16 · (heads + 1) · depth bfloat16, and logits and probabilities of a block.

#include "cpu/kernels/attention_columns_bf16.h"

namespace attn::cpu::ATTN_ISA {
namespace {

/// Keys, or values, of a block: a quarter of a 512 KiB L2 cache.
constexpr std::int64_t kBlockBytes = 128 * 1024;
constexpr std::int64_t kMinBlockKeys = 64;
/// Features of kDepthStep keys that are packed before they are multiplied. A product follows another soon: the unit for tiles sleeps when it has nothing to do for about 1,500 cycles, and takes as long to wake.
constexpr int kPackedFeatures = 64;

ATTN_INLINE std::int64_t block_keys(const AttentionProblem& p, int num_kv_heads) {
  const std::int64_t row_bytes = 2 * max_of(p.head_dim_qk, p.head_dim_vo) * num_kv_heads;
  return min_of(max_of(kBlockBytes / row_bytes / kDepthStep * kDepthStep, kMinBlockKeys), kBlockKeys);
}

/// The last head's product writes a whole panel of columns. An odd number of cache lines, so that rows do not collide in the L1 cache.
ATTN_INLINE std::int64_t logit_stride(std::int64_t rows) { return ((round_up(rows, kPanelCols) / kPanelCols + 1) | 1) * kPanelCols; }

constexpr std::int64_t kPackedElements = kPackedFeatures * kDepthStep;

ATTN_INLINE Bf16Shape rows_shape(const AttentionProblem& p, int num_rows, int num_kv_heads) {
  const std::int64_t rows = static_cast<std::int64_t>(num_rows) * num_kv_heads, keys = block_keys(p, num_kv_heads);
  return {kPanelCols * num_kv_heads, kCopiedKeys, kDepthStep, 2 * kPackedElements, keys * logit_stride(rows), rows, keys};
}

/// Fetches rows, all heads of each, in `steps` parts: several runs of rows side by side, each line by line, since prefetchers follow each of them
/// (attention_rows.cpp).
class RowFetch {
 public:
  ATTN_INLINE RowFetch(const KvRows& rows, std::int64_t first, std::int64_t count, int num_heads, std::int64_t steps)
      : rows_(rows), bytes_((num_heads - 1) * rows.head_bytes + rows.dim * 2) {
    count = max_of(count, 0);
    for (int s = 0; s < kRuns; ++s) runs_[s] = {first + count * s / kRuns, first + count * (s + 1) / kRuns, 0, nullptr};
    const std::int64_t lines = count * ((bytes_ + kLine - 1) / kLine);
    bursts_ = ((lines + steps - 1) / steps + kBurst - 1) / kBurst;
  }

  ATTN_INLINE void step() {
    for (std::int64_t n = 0; n < bursts_; ++n) {
      Run& run = runs_[turn_++ % kRuns];
      if (run.left <= 0) {
        if (run.next >= run.end) continue;
        run.at = rows_.row(run.next++);
        run.left = bytes_;
      }
      // Beyond a row's end lies the next row or nothing: to fetch does no harm.
#pragma GCC unroll 8
      for (int i = 0; i < kBurst; ++i) __builtin_prefetch(run.at + i * kLine, 0, 2);
      run.at += kBurst * kLine;
      run.left -= kBurst * kLine;
    }
  }

 private:
  static constexpr std::int64_t kLine = 64;
  static constexpr int kBurst = 4;  // lines
  static constexpr int kRuns = 4;
  struct Run {
    std::int64_t next = 0, end = 0, left = 0;
    const std::byte* at = nullptr;
  };
  const KvRows& rows_;
  std::int64_t bytes_, bursts_;
  Run runs_[kRuns];
  unsigned turn_ = 0;
};

class RowsTask : Bf16ColumnTask {
 public:
  explicit RowsTask(const AttentionTile& tile)
      : Bf16ColumnTask(tile, rows_shape(*tile.problem, tile.num_rows, tile.num_kv_heads), logit_stride(tile.num_rows * tile.num_kv_heads)) {}

  void run(KeyRange keys) {
    const int heads = t_.num_kv_heads;
    for (int h = 0; h < heads; ++h) pack_queries(tile_of_head(t_, h), scratch_.queries + h * kPanelCols * depth_);
    RowFetch(k_[0], keys.begin, min_of(block_keys_, keys.end - keys.begin), heads, 1).step();
    each_block(keys, [&](KeyRange of_block) { add_block(of_block, keys.end); });
    finish_states(0, num_rows());
  }

 private:
  /// Values that are packed, to be added after the next ones were: their stores would be waited for.
  struct Packed {
    int head = 0, buffer = 0;
    KeyRange steps{0, 0};
    PackedValues values{};
  };

  ATTN_INLINE void add_block(KeyRange keys, std::int64_t keys_end) const {
    const int heads = t_.num_kv_heads;
    const KeyRange steps{keys.begin / kDepthStep * kDepthStep, round_up(keys.end, kDepthStep)};
    RowFetch values(v_, block_ + keys.begin, keys.end - keys.begin, heads, (steps.end - steps.begin) / kPanelCols * heads * (depth_ / kDepthStep));
    for (std::int64_t j = steps.begin; j < steps.end; j += kGroupKeys) {
      for (int h = 0; h < heads; ++h) {
        add_scores(keys, {j, min_of(j + kGroupKeys, steps.end)}, h, scratch_.queries + h * kPanelCols * depth_, t_.num_rows, h * t_.num_rows,
                   [&] { values.step(); });
      }
    }
    for (int r = 0; r < num_rows(); r += kLanes) add_probabilities(keys, steps, 0, r, static_cast<int>(min_of(kLanes, num_rows() - r)));

    const bool edge = row_keys(t_.num_rows - 1, keys).begin > keys.begin || row_keys(0, keys).end < keys.end;
    const std::int64_t next = block_ + block_keys_, pieces = (p_.head_dim_vo + kPackedFeatures - 1) / kPackedFeatures;
    RowFetch next_keys(k_[0], next, min_of(block_keys_, keys_end - next), heads, (steps.end - steps.begin) / 2 * heads * pieces);
    const bool whole = v_.dim_stride == 1 && !edge;
    Packed packed;
    for (std::int64_t j = steps.begin; j < steps.end; j += kDepthStep) {
      const std::int64_t lo = max_of(keys.begin - j, 0), hi = min_of(keys.end - j, kDepthStep);
      for (int h = 0; h < heads; ++h) {
        KvRows rows = v_;
        rows.base += h * v_.head_bytes;
        for (std::int64_t d = 0; d < p_.head_dim_vo; d += kPackedFeatures, rows.base += kPackedFeatures * 2) {
          const Packed before = packed;
          packed = {h, !before.buffer, {j, j + kDepthStep}, {j, d, min_of(kPackedFeatures, p_.head_dim_vo - d), false}};
          BFloat* buffer = scratch_.values + packed.buffer * kPackedElements;
          if (whole && hi - lo == kDepthStep && packed.values.dim == kPackedFeatures) {
            pack_whole_values<kPackedFeatures>(rows, block_ + j, value_panel_, buffer, [&] { next_keys.step(); });
          } else {
            packed.values.poison = pack_values(rows, block_ + j, lo, hi, packed.values.dim, value_panel_, buffer, edge);
          }
          add_packed(keys, before);
        }
      }
    }
    add_packed(keys, packed);
  }

  ATTN_INLINE void add_packed(KeyRange keys, const Packed& packed) const {
    if (packed.values.dim == 0) return;
    add_values(keys, packed.steps, 0, packed.head * t_.num_rows, (packed.head + 1) * t_.num_rows, packed.values,
               scratch_.values + packed.buffer * kPackedElements);
  }
};

}  // namespace

std::size_t attention_rows_bf16_scratch(const AttentionProblem& problem, int num_rows, int num_kv_heads) {
  return bf16_scratch(problem, rows_shape(problem, num_rows, num_kv_heads), nullptr).bytes;
}

void attention_rows_bf16(const AttentionTile& t) {
  for (int h = 0; h < t.num_kv_heads; ++h) clear_state(tile_of_head(t, h));
  const KeyRange keys = tile_keys(t);
  if (keys.begin < keys.end) RowsTask(t).run(keys);
  finish_heads(t);
}

}  // namespace attn::cpu::ATTN_ISA
