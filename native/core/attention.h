#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "core/work_size.h"

namespace attn {

/// Rows of a tensor seen as [sequence, row, head, feature]; strides in elements. A head stride of 0 broadcasts one head to all.
struct HeadRows {
  std::byte* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t sequence_stride = 0;
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t dim_stride = 1;
  int dim = 0;  // features in this part
};

/// What a float8_e4m3 element of a head stands for: element · scale, in float32. One scale per kv head, or per sequence and kv head; all query
/// heads of a group share theirs. Nothing is known of the values: 0, NaN and infinities enter the arithmetic as they are.
struct HeadScales {
  const float* data = nullptr;  // on the device, read when the work runs; null: every scale is 1
  std::int64_t sequence_stride = 0;
  std::int64_t head_stride = 1;
};

/// Facts of one attention call, derived and checked by the calls (attention_calls.h). Kernels need no further checks.
///
/// Queries and keys come in one or two parts along the feature axis (MLA: [nope | rope]); logits add over the parts.
/// Where a kv row lies: without a page table, sequence b, row j is data + (start(b) + j) · row_stride, where start(b) is
/// b · sequence_stride for dense batches and kv_indptr[b] · row_stride for packed ones; with a page table it is
/// page_table[b][j / page_size] · sequence_stride + (j % page_size) · row_stride.
///
/// float8_e4m3: keys and values are both of it or neither; queries of it have keys and values of it, and an `out` of a compute dtype. Queries of a
/// compute dtype with float8_e4m3 keys and values are what a cache holds. A kernel gets such a problem only where its registry row names
/// float8_e4m3 among its dtypes (operand_dtypes()); it then reads the scales, or turns the problem down.
struct AttentionProblem {
  std::int64_t batch = 0;
  std::int64_t qo_len = 0;  // longest of the batch
  std::int64_t kv_len = 0;  // longest of the batch, or the capacity where kv_lens says the rest
  int num_qo_heads = 0;
  int num_kv_heads = 0;
  int group_size = 0;  // num_qo_heads / num_kv_heads: query head h uses kv head h / group_size
  int head_dim_qk = 0;
  int head_dim_vo = 0;

  int num_parts = 1;
  HeadRows q[2], k[2];
  HeadRows v;
  bool v_in_k = false;  // MLA: the value row is the first head_dim_vo features of k[0]'s row, read once for both
  HeadRows out;         // its dtype is known when the kernel is chosen, the rest only when the work is enqueued

  // logit = softmax_scale · q scale · k scale · (q · k), before softcap and the rest; out = v scale · Σ p v. Null where the operand is not
  // float8_e4m3; latents have scales of their own.
  HeadScales q_scales, k_scales, v_scales;
  // MLA with rows of LatentRow (core/latent_rows.h): k[0] is float8_e4m3 and k[1] bfloat16. Features [128 g, 128 g + 128) of the latent are
  // multiplied by float number g of the row's four; row r of page n has its own at latent_scales + n · page_stride + r · row_stride floats.
  const float* latent_scales = nullptr;
  std::int64_t latent_scales_page_stride = 0;
  std::int64_t latent_scales_row_stride = 0;

  float* lse = nullptr;  // natural log, may be null; sequence b, head h, row i at b·lse_sequence_stride + h·lse_head_stride + start + i
  std::int64_t lse_sequence_stride = 0;
  std::int64_t lse_head_stride = 0;

  // Host arrays owned by the call, null where the batch is dense.
  const std::int32_t* qo_indptr = nullptr;  // [batch + 1]
  const std::int32_t* kv_indptr = nullptr;  // [batch + 1]
  const std::int32_t* qo_lens = nullptr;    // [batch] valid query rows; rows beyond give out 0, lse -inf
  // Device arrays: read when the work runs, not when it is enqueued.
  const std::int32_t* kv_lens = nullptr;  // [batch] clamped to 0 … kv_len
  std::int64_t kv_lens_stride = 1;
  const std::int32_t* page_table = nullptr;  // [batch, max_pages]; only the first ceil(kv_len / page_size) entries of a row are read
  std::int64_t page_table_stride = 0;
  int page_size = 0;
  std::int64_t num_pages = 0;

  // What a plan laid down for the kernel that made it, on the device: the words are the kernel's own. Null: none.
  const std::int32_t* schedule = nullptr;
  std::int64_t schedule_parts = 0;
  std::int64_t schedule_pieces = 0;

  float softmax_scale = 1;
  float logit_softcap = 0;              // 0: none
  std::int64_t window_left = -1;        // keys visible left of the aligned diagonal, -1: all
  std::int64_t window_right = -1;       // right of it, -1: all; causal is 0
  const float* alibi_slopes = nullptr;  // [num_qo_heads], or [batch, num_qo_heads] by its sequence stride
  std::int64_t alibi_sequence_stride = 0;
  std::int64_t alibi_head_stride = 1;
  const float* sinks = nullptr;  // [num_qo_heads]
  std::int64_t sinks_stride = 1;

  /// As if every row of every sequence saw all keys of the longest.
  WorkSize work_size() const {
    const double rows = static_cast<double>(batch * qo_len * num_qo_heads), keys = static_cast<double>(kv_len), dims = head_dim_qk + head_dim_vo;
    const double kv_bytes = static_cast<double>(batch * num_kv_heads) * keys * (v_in_k ? head_dim_qk : dims) * static_cast<double>(dtype_size(k[0].dtype));
    return {2 * rows * keys * (dims + 8), kv_bytes + rows * dims * static_cast<double>(dtype_size(out.dtype))};
  }
};

/// The same facts for MLA's latent attention (v_in_k, one kv head): a type of its own, so that it has kernel rows of its own.
struct MlaDecodeProblem : AttentionProblem {};

/// The dtypes of all operands and of out.
DTypeMask operand_dtypes(const AttentionProblem& problem);

/// One sequence of the batch with its lengths resolved when the work runs.
struct SequenceSpan {
  std::int64_t index = 0;
  std::int64_t qo_len = 0;   // valid rows
  std::int64_t qo_rows = 0;  // rows to write: valid ones and padding
  std::int64_t kv_len = 0;
  std::int64_t q_start[2] = {0, 0};  // element offsets of row 0
  std::int64_t out_start = 0;
  std::int64_t lse_start = 0;
  std::int64_t k_start[2] = {0, 0};  // element offsets of row 0; unused with pages
  std::int64_t v_start = 0;
  const std::int32_t* pages = nullptr;
};

/// Reads lengths, page table rows and offsets of sequence b. Call it when the work runs.
SequenceSpan sequence_span(const AttentionProblem& problem, std::int64_t b);

/// The keys [begin, end) that query row i of a sequence sees, from window and causal bounds; empty when begin >= end.
struct KeyRange {
  std::int64_t begin, end;
};
inline KeyRange visible_keys(const AttentionProblem& p, const SequenceSpan& s, std::int64_t i) {
  const std::int64_t diagonal = i + (s.kv_len - s.qo_len);
  KeyRange range{0, s.kv_len};
  if (p.window_left >= 0 && diagonal - p.window_left > 0) range.begin = diagonal - p.window_left;
  if (p.window_right >= 0 && diagonal + p.window_right + 1 < s.kv_len) range.end = diagonal + p.window_right + 1;
  return range;
}

}  // namespace attn
