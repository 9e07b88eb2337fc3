#include "cpu/kernels/attention_partition.h"

#include <algorithm>

namespace attn::cpu {
namespace {

constexpr std::int64_t kTasksPerSequence = 64;   // enough for many cores, few enough that merging stays cheap
constexpr std::int64_t kSharedTasks = 32;        // the same of several kv heads, whose states are larger
constexpr std::int64_t kFewestTasks = 8;         // kv heads are taken together only where that many tasks remain
constexpr std::int64_t kEnoughTasks = 16;        // of several kv heads: keys are split finer until there are as many
constexpr std::int64_t kMinSplitKeys = 512;      // of one kv head: a split's state is worth a key or two; its work should be worth many more
constexpr std::int64_t kSharedKeys = 1024;       // of several kv heads: their states are written to memory, and read again by the merge
constexpr std::int64_t kMinSharedKeys = 64;      // the same, up to kEnoughTasks
constexpr std::int64_t kHeadsBytes = 4096;       // rows of kv heads taken together: more bytes in a row make memory no faster
constexpr std::int64_t kRowsFloats = 32 * 1024;  // queries, logits and accumulators of the direct path: a quarter of a 512 KiB L2 cache
// Queries, logits and accumulator of a tile. They may leave the L2 cache, since chunks of rows stream them at a byte or two per cycle; packing
// a block of keys and values for few rows costs more (a tenth of the time at 192 rows of 128 features; 1,104 take 1 % less than 560, and 4 % in bfloat16).
constexpr std::int64_t kTileFloats = 384 * 1024;
constexpr std::int64_t kTasksPerThread = 6;
constexpr std::int64_t kFewTasksPerThread = 4;  // of equal ones, where keys are few
constexpr std::int64_t kLatentRows = 192;       // of MLA's wide rows
constexpr std::int64_t kFewRows = 24;           // a tile of fewer is not worth packing keys for
constexpr std::int64_t kRowStep = 48;           // a multiple of every instruction set's register tile

std::int64_t div_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t round_up(std::int64_t a, std::int64_t b) { return div_up(a, b) * b; }

/// Into how many parts a task of `heads` kv heads may split `keys` keys. Never falls as the number of keys grows.
std::int64_t worthwhile_splits(std::int64_t heads, std::int64_t keys) {
  if (heads == 1) return div_up(keys, kMinSplitKeys);
  return std::max(div_up(keys, kSharedKeys), std::min(div_up(keys, kMinSharedKeys), kEnoughTasks));
}

/// Whether the rows of all kv heads lie side by side.
bool heads_interleaved(const AttentionProblem& p, const HeadRows& rows) {
  return rows.head_stride >= 0 && (p.num_kv_heads - 1) * rows.head_stride < rows.row_stride;
}

/// How many kv heads one task of the direct path takes. Never falls as the number of keys grows.
int heads_together(const AttentionProblem& p, std::int64_t rows, std::int64_t keys) {
  if (!heads_interleaved(p, p.k[0]) || !heads_interleaved(p, p.v)) return 1;
  const std::int64_t row_bytes = std::max(p.head_dim_qk, p.head_dim_vo) * dtype_size(p.v.dtype);
  const std::int64_t fitting = std::min(kHeadsBytes / row_bytes, kRowsFloats / (rows * (p.head_dim_qk + p.head_dim_vo + kTileKv)));
  const std::int64_t tasks = div_up(p.num_kv_heads, std::clamp<std::int64_t>(fitting, 1, p.num_kv_heads));
  const std::int64_t heads = div_up(p.num_kv_heads, tasks);
  // All or one: some heads of a row of a few KiB are read no faster than one.
  return tasks * worthwhile_splits(heads, keys) < kFewestTasks ? 1 : static_cast<int>(heads);
}

/// Into how many parts `keys` keys are split at most. Never falls as the number of keys grows.
std::int64_t splits_of(const AttentionProblem& p, const Partition& part, std::int64_t keys) {
  const std::int64_t wanted =
      std::max<std::int64_t>((part.heads > 1 ? kSharedTasks : kTasksPerSequence) / (part.planned_tiles * div_up(p.num_kv_heads, part.heads)), 1);
  return std::clamp<std::int64_t>(worthwhile_splits(part.heads, keys), 1, wanted);
}

std::int64_t most_keys(const AttentionProblem& p, const SequenceSpan& s) {
  return visible_keys(p, s, s.qo_len - 1).end - std::max<std::int64_t>(visible_keys(p, s, 0).begin, 0);
}

std::int64_t most_tile_rows(const AttentionProblem& p) {
  const std::int64_t fitting = kTileFloats / (p.head_dim_qk + p.head_dim_vo + kTileKv) / kRowStep * kRowStep;
  return std::clamp<std::int64_t>(fitting, kRowStep, kMaxTileRows);
}

/// Tiles as tall as leaves every thread enough of them: keys are packed once per tile. A row's result is the same in any tile.
void widen_tiles(const AttentionProblem& p, Partition& part, int threads, std::int64_t keys) {
  std::int64_t rows = most_tile_rows(p);
  if (keys <= kTileKv) {
    // Even shares for every thread.
    const std::int64_t tiles = std::min(div_up(kFewTasksPerThread * threads, p.num_kv_heads * p.batch), div_up(part.rows, kFewRows));
    part.tile_rows = static_cast<int>(std::min({round_up(div_up(part.rows, tiles), 16), rows, part.rows}));
    part.num_tiles = div_up(part.rows, part.tile_rows);
    return;
  }
  while (rows > part.tile_rows && div_up(part.rows, rows) * p.num_kv_heads * p.batch < kTasksPerThread * threads) rows -= kRowStep;
  rows = std::max<std::int64_t>(rows, part.tile_rows);
  part.num_tiles = div_up(part.rows, rows);
  // As many tiles, but even ones: a short last one would have its keys packed for a few rows.
  part.tile_rows = static_cast<int>(std::min(round_up(div_up(part.rows, part.num_tiles), kRowStep), part.rows));
  part.num_tiles = div_up(part.rows, part.tile_rows);
}

}  // namespace

std::int64_t most_splits(const AttentionProblem& p, const Partition& part, const SequenceSpan& s) {
  return part.rows == 0 ? 1 : splits_of(p, part, most_keys(p, s));
}

SequenceSpan longest_span(AttentionProblem problem, std::int64_t b) {
  problem.kv_lens = nullptr;
  return sequence_span(problem, b);
}

Partition partition_of(const AttentionProblem& p, AttentionPath path, const SequenceSpan& s, int threads) {
  Partition part;
  part.rows = s.qo_len * p.group_size;
  if (part.rows == 0) return part;
  part.direct = path == AttentionPath::kDirect || (preferred_path(p) == AttentionPath::kTiled && part.rows <= kMaxDirectRows && !direct_rows_missing(p));
  if (part.direct) {
    part.tile_rows = static_cast<int>(part.rows);
  } else {
    std::int64_t rows = most_tile_rows(p);
    while (rows > kRowStep && div_up(part.rows, rows) * p.num_kv_heads < kTasksPerSequence) rows -= kRowStep;
    // All heads share MLA's latent rows: read and packed once for as many of them as a tile takes. Keys are split instead.
    if (p.v_in_k) rows = kLatentRows;
    part.tile_rows = static_cast<int>(std::min(rows, part.rows));
  }
  part.num_tiles = part.planned_tiles = div_up(part.rows, part.tile_rows);
  const std::int64_t begin = std::max<std::int64_t>(visible_keys(p, s, 0).begin, 0);
  const std::int64_t end = visible_keys(p, s, s.qo_len - 1).end;
  if (begin >= end) return part;
  part.keys = {begin / kTileKv * kTileKv, end};
  if (part.direct) part.heads = heads_together(p, part.rows, end - begin);
  part.split_keys = round_up(div_up(end - part.keys.begin, splits_of(p, part, end - begin)), kTileKv);
  part.num_splits = div_up(end - part.keys.begin, part.split_keys);
  // By the most keys that there can be: the workspace was measured before the lengths were known.
  const SequenceSpan longest = longest_span(p, s.index);
  if (!part.direct && !p.v_in_k && most_splits(p, part, longest) == 1) widen_tiles(p, part, threads, most_keys(p, longest));
  return part;
}

std::int64_t rows_per_kv_head(const AttentionProblem& problem) { return problem.qo_len * problem.group_size; }

const char* direct_rows_missing(const AttentionProblem& p) {
  if (p.v_in_k) return "takes values apart from the keys";
  if (p.num_parts != 1) return "takes keys of one part, received two";
  if (p.k[0].dtype != p.v.dtype) return "takes keys and values of one dtype";
  if (p.k[0].dim_stride != 1 || p.v.dim_stride != 1) return "takes keys and values whose features are adjacent";
  return nullptr;
}

AttentionPath preferred_path(const AttentionProblem& problem) {
  return rows_per_kv_head(problem) <= kMaxDirectRows && !direct_rows_missing(problem) ? AttentionPath::kDirect : AttentionPath::kTiled;
}

std::int64_t planned_splits(const AttentionProblem& problem, AttentionPath path) {
  std::int64_t splits = 1;
  for (std::int64_t b = 0; b < problem.batch; ++b) {
    const SequenceSpan span = longest_span(problem, b);
    splits = std::max(splits, most_splits(problem, partition_of(problem, path, span, 1), span));
  }
  return splits;
}

}  // namespace attn::cpu
