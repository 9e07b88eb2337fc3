#pragma once
// How an attention problem is cut: the path of each sequence, tiles of its rows, splits of its keys.

#include <cstdint>

#include "cpu/kernels/attention_tile.h"

namespace attn::cpu {

/// kDirect: attention_rows.cpp for every sequence. kTiled: attention_tile.cpp; sequences of few rows within a batch of longer
/// ones still take the direct path where they can, as they would alone.
enum class AttentionPath { kDirect, kTiled };

/// Query rows per kv head of the longest sequence.
std::int64_t rows_per_kv_head(const AttentionProblem& problem);
/// What of the problem's layout the direct path cannot do, as a static text; nullptr when it can.
const char* direct_rows_missing(const AttentionProblem& problem);
/// The path that the registry's first usable row takes.
AttentionPath preferred_path(const AttentionProblem& problem);

/// The most parts into which the keys of any sequence are split.
std::int64_t planned_splits(const AttentionProblem& problem, AttentionPath path);

/// How one sequence is cut.
struct Partition {
  bool direct = false;
  std::int64_t rows = 0;  // per kv head
  int tile_rows = 1;
  int heads = 1;                   // kv heads that one task takes together
  std::int64_t num_tiles = 0;      // per kv head
  std::int64_t planned_tiles = 0;  // the same before tiles were widened for the threads at hand: what splits are planned by
  std::int64_t num_splits = 1;
  KeyRange keys{0, 0};          // visible to any row; begin is a multiple of kTileKv
  std::int64_t split_keys = 0;  // a multiple of kTileKv
};

/// The cut over the keys follows from the sequence's own shape alone; that over the rows may follow the number of threads.
Partition partition_of(const AttentionProblem& problem, AttentionPath path, const SequenceSpan& sequence, int threads);

/// What is known of a sequence before the work runs: its rows, and the most keys that it can have.
SequenceSpan longest_span(AttentionProblem problem, std::int64_t sequence);

/// Upper bound of num_splits for any kv_len up to the sequence's own.
std::int64_t most_splits(const AttentionProblem& problem, const Partition& part, const SequenceSpan& sequence);

}  // namespace attn::cpu
