#pragma once
// What the schedule (attention_schedule.cpp, compiled once) asks of the compute code (attention_tile.cpp and
// attention_rows.cpp, compiled per instruction set).

#include <cstddef>
#include <cstdint>

#include "core/attention.h"
#include "cpu/isa.h"

namespace attn::cpu {

/// dst[d · dim_stride] = values[d] · factor, rounded to dtype.
using WriteRow = void(const float* values, float factor, int dim, DType dtype, std::byte* dst, std::int64_t dim_stride);

/// Rows of one kv head's group against a range of keys. Row r is query r / group_size of head kv_head · group_size + r % group_size.
/// The direct path takes the same rows of num_kv_heads kv heads from kv_head on.
struct AttentionTile {
  const AttentionProblem* problem;
  const SequenceSpan* sequence;
  int kv_head;
  std::int64_t row_begin;
  int num_rows;
  std::int64_t kv_begin, kv_end;  // keys to consider, kv_begin a multiple of kTileKv; each row's own bounds apply on top
  int num_kv_heads;               // 1 on the tiled path
  std::int64_t state_stride;      // floats from one kv head's accumulator, max and sum to the next one's
  float* accumulator;             // [num_rows, accumulator_stride] Σ exp(logit - max) v, written; of a row with sum 0 perhaps not
  float* max;                     // [num_rows] natural-log units, -inf where no key was seen; written
  float* sum;                     // [num_rows] Σ exp(logit - max), written; NaN where a visible logit is NaN
  std::byte* scratch;             // this thread's, 64-byte aligned
  /// Given where no other split has a part in these rows: their outputs are then written as soon as a state is final, while it is in the cache, by
  /// write_outputs() or with output_factor(), and no state need be left.
  WriteRow* write_row = nullptr;
};

// attention_outputs.cpp; for a tile with a write_row.

/// Writes the outputs and lse of rows [first, end) of one kv head from their states; accumulators are overwritten.
void write_outputs(const AttentionTile& tile, int first, int end);
/// What the sums of one row, with its max in natural-log units, are multiplied by: 0 where it saw nothing. Writes the lse.
float output_factor(const AttentionTile& tile, std::int64_t query, std::int64_t member, float max, float sum);

/// Keys per block of the online softmax.
inline constexpr int kTileKv = 64;
/// Rows of one tile, bounded further by the head dims.
inline constexpr int kMaxTileRows = 1152;
/// Query rows per kv head up to which keys are read as they lie instead of being packed for a matrix product.
inline constexpr int kMaxDirectRows = 8;

/// Of these, up to as many are converted and multiplied as float32 even where tiles of bfloat16 are at hand: so few do not pay for packing values.
inline constexpr int kMaxConvertedRows = 4;

/// Rows are padded to the widest vector of any instruction set.
[[gnu::always_inline]] inline std::int64_t accumulator_stride(const AttentionProblem& problem) { return (problem.head_dim_vo + 15) / 16 * 16; }

/// The compute code of one instruction set.
struct AttentionFunctions {
  void (*tile)(const AttentionTile& tile);
  std::size_t (*tile_scratch)(const AttentionProblem& problem, int num_rows);                    // bytes
  void (*rows)(const AttentionTile& tile);                                                       // at most kMaxDirectRows; see direct_rows_missing()
  std::size_t (*rows_scratch)(const AttentionProblem& problem, int num_rows, int num_kv_heads);  // bytes
  WriteRow* write_row;
  /// Like `rows`, for more than kMaxConvertedRows of them; absent where `rows` takes these too, as it does where keys are float8_e4m3.
  void (*more_rows)(const AttentionTile& tile) = nullptr;
  std::size_t (*more_rows_scratch)(const AttentionProblem& problem, int num_rows, int num_kv_heads) = nullptr;

  bool takes_more(const AttentionProblem& problem, std::int64_t num_rows) const {
    return more_rows && num_rows > kMaxConvertedRows && problem.k[0].dtype != DType::kFloat8E4M3;
  }
};

#define ATTN_DECLARE(isa)                                                                                                                 \
  namespace isa {                                                                                                                         \
  void attention_tile(const AttentionTile& tile);                                                                                         \
  std::size_t attention_tile_scratch(const AttentionProblem& problem, int num_rows);                                                      \
  void attention_rows(const AttentionTile& tile);                                                                                         \
  std::size_t attention_rows_scratch(const AttentionProblem& problem, int num_rows, int num_kv_heads);                                    \
  void write_attention_row(const float* values, float factor, int dim, DType dtype, std::byte* dst, std::int64_t dim_stride);             \
  inline constexpr AttentionFunctions kAttentionFunctions{attention_tile, attention_tile_scratch, attention_rows, attention_rows_scratch, \
                                                          write_attention_row};                                                           \
  }
#ifdef ATTN_ISA
ATTN_DECLARE(ATTN_ISA)
#else
ATTN_FOR_EACH_ISA(ATTN_DECLARE)
#endif
#undef ATTN_DECLARE

/// What the instruction sets with products of bfloat16 do of it; the rest is AVX-512's. attention_bf16 takes the few rows of a sequence, or those
/// of MLA's latents, as columns, and others as tiles; attention_rows_bf16 is their more_rows.
#define ATTN_DECLARE(isa)                                                                                   \
  namespace isa {                                                                                           \
  void attention_bf16(const AttentionTile& tile);                                                           \
  std::size_t attention_bf16_scratch(const AttentionProblem& problem, int num_rows);                        \
  void attention_columns_bf16(const AttentionTile& tile);                                                   \
  std::size_t attention_columns_bf16_scratch(const AttentionProblem& problem, int num_rows);                \
  void attention_rows_bf16(const AttentionTile& tile);                                                      \
  std::size_t attention_rows_bf16_scratch(const AttentionProblem& problem, int num_rows, int num_kv_heads); \
  }
#ifdef ATTN_ISA
ATTN_DECLARE(ATTN_ISA)
#else
ATTN_FOR_EACH_BF16_ISA(ATTN_DECLARE)
#endif
#undef ATTN_DECLARE

}  // namespace attn::cpu
