#pragma once
// From the states of tiles to rows of the output: splits are merged, sinks added, sums divided and converted.

#include <cstdint>

#include "cpu/kernels/attention_tile.h"

namespace attn::cpu {

/// Floats of one tile's state: accumulator, max, sum.
inline std::int64_t state_floats(const AttentionProblem& p, std::int64_t rows) { return (rows * (accumulator_stride(p) + 2) + 15) / 16 * 16; }

struct TileState {
  float *accumulator, *max, *sum;
  TileState(float* memory, const AttentionProblem& p, std::int64_t rows) : accumulator(memory), max(memory + rows * accumulator_stride(p)), sum(max + rows) {}
};

/// What a row's sums are multiplied by, from its state and its sink: 0 where it saw nothing. Writes the lse.
float row_factor(const AttentionProblem& problem, const SequenceSpan& sequence, std::int64_t head, std::int64_t query, float max, float sum);

/// Writes rows [first, end) of the tile of a kv head that begins with row `row_begin`; accumulators are overwritten.
void finish_rows(const AttentionProblem& problem, const AttentionFunctions& functions, const SequenceSpan& sequence, std::int64_t kv_head,
                 std::int64_t row_begin, const TileState& state, int first, int end);

/// The states of one tile and kv head, of one split after the other.
struct SplitStates {
  float* first;
  std::int64_t stride, count;
};

/// Sums rows [first, end) of the states, each of `rows` rows, into the first one, in order of the keys.
TileState merge_splits(const AttentionProblem& problem, const SplitStates& states, std::int64_t rows, int first, int end);

/// Rows of a padded batch beyond the sequence's own.
void write_padding(const AttentionProblem& problem, const AttentionFunctions& functions, const SequenceSpan& sequence);

}  // namespace attn::cpu
