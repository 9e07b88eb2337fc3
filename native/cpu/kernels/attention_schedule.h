#pragma once
// Cuts attention problems into tiles and splits, runs them on the device's threads, merges and writes the results.
// How a sequence is cut depends on its own shape only, never on the threads or on the rest of the batch: results are
// the same bits from run to run, whatever the number of threads and whatever else is in the batch.

#include <cstddef>
#include <cstdint>

#include "core/execution.h"
#include "cpu/kernels/attention_partition.h"

namespace attn::cpu {

/// Bytes: scratch and one tile's state per thread, and the states of split sequences. Never a copy of keys or values.
std::size_t attention_workspace(const AttentionProblem& problem, const AttentionFunctions& functions, AttentionPath path, int num_threads);
void run_attention(const AttentionProblem& problem, const AttentionFunctions& functions, AttentionPath path, Execution& execution);

}  // namespace attn::cpu
