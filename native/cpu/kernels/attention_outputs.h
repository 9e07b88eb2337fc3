#pragma once
// From the states of tiles to rows of the output: splits are merged, sinks added, sums divided and converted.

#include <cstdint>

#include "cpu/kernels/attention_tile.h"

namespace attn::cpu {

/// Floats of one tile's state: accumulator, max, sum.
inline std::int64_t state_floats(const AttentionProblem& p, std::int64_t rows) { return (rows * (accumulator_stride(p) + 2) + 15) / 16 * 16; }

struct TileState {
  float *accumulator, *max, *sum;
  explicit TileState(const AttentionTile& tile) : accumulator(tile.accumulator), max(tile.max), sum(tile.sum) {}
  TileState(float* memory, const AttentionProblem& p, std::int64_t rows) : accumulator(memory), max(memory + rows * accumulator_stride(p)), sum(max + rows) {}
};

/// Writes rows [first, end) of the tile of a kv head that begins with row `row_begin`; accumulators are overwritten.
void finish_rows(const AttentionProblem& problem, WriteRow* write_row, const SequenceSpan& sequence, std::int64_t kv_head, std::int64_t row_begin,
                 const TileState& state, int first, int end);

/// The states of one tile and kv head, of one split after the other.
struct SplitStates {
  float* first;
  std::int64_t stride, count;
};

/// Sums rows [first, end) of the states, each of `rows` rows, into the first one, in order of the keys.
TileState merge_splits(const AttentionProblem& problem, const SplitStates& states, std::int64_t rows, int first, int end);

/// Rows of a padded batch beyond the sequence's own.
void write_padding(const AttentionProblem& problem, WriteRow* write_row, const SequenceSpan& sequence);

}  // namespace attn::cpu
