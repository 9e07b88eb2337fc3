#pragma once
// The parameter of the split-KV kernels of attention_split, mla_decode and attention_decode and of their combine kernels; shared by host and device.

#include <cstdint>
#include <type_traits>

#include "core/attention.h"

namespace attn::cuda {

/// Without a plan: sequence b, kv head h, split s of its keys, row r = i · group_size + (query head within the group): the partial output is
/// outs[(((b · kv heads + h) · num_splits + s) · max_rows + r) · head_dim_vo …], weighed by exp2 of the same entry of lses. With one, of one
/// kv head: piece n at outs[(n · max_rows + r) · head_dim_vo …].
struct SplitParams {
  AttentionProblem problem;  // qo_indptr, kv_indptr and qo_lens are device memory here
  float* outs;               // workspace
  float* lses;               // workspace, base 2
  std::int64_t max_rows;     // qo_len · group_size
  std::int32_t split_len;    // keys
  std::int32_t num_splits;   // of the longest sequence
  std::int32_t row_tiles;
  const std::int32_t* first_pieces;  // [batch + 1], of a plan: sequence b has these pieces, in the place of splits of split_len keys; or null
  bool whole_done;                   // the split kernel itself writes the results of sequences that are not cut
};
static_assert(std::is_trivially_copyable_v<SplitParams> && sizeof(SplitParams) < 4096, "a kernel parameter is at most 4 KiB");

}  // namespace attn::cuda
