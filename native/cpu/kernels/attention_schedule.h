#pragma once
// Cuts attention problems into tiles and splits, runs them on the device's threads, merges and writes the results.
// How a sequence is cut depends on its own shape only, never on the threads or on the rest of the batch: results are
// the same bits from run to run, whatever the number of threads and whatever else is in the batch.

#include <cstddef>
#include <cstdint>

#include "core/execution.h"
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

/// Bytes: scratch and one tile's state per thread, and the states of split sequences. Never a copy of keys or values.
std::size_t attention_workspace(const AttentionProblem& problem, const AttentionFunctions& functions, AttentionPath path, int num_threads);
void run_attention(const AttentionProblem& problem, const AttentionFunctions& functions, AttentionPath path, Execution& execution);

}  // namespace attn::cpu
