#include "core/attention_steps.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace attn {

void check_extent(const char* argument, const char* name, std::int64_t extent, std::int64_t min) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int32_t>::max();
  if (extent >= min && extent <= kMax) return;
  fail_argument(ErrorCode::kShapeMismatch, argument, std::string(name) + " from " + std::to_string(min) + " to " + std::to_string(kMax),
                std::to_string(extent));
}

void check_operand_dtype(const char* argument, const TensorView& view) {
  if (is_float(view.dtype)) return;
  fail_argument(ErrorCode::kInvalidArgument, argument, "dtype float32, float16, bfloat16 or float8_e4m3", dtype_name(view.dtype));
}

void check_q_parts(const TensorView& q_nope, const TensorView& q_pe) {
  check_same_dtype("qPe", q_pe, "qNope", q_nope);
  check_same_device("qPe", q_pe, "qNope", q_nope);
  for (int axis = 0; axis < 3; ++axis) {
    if (q_pe.shape[axis] != q_nope.shape[axis]) {
      fail_argument(ErrorCode::kShapeMismatch, "qPe", "the shape of qNope " + shape_text(q_nope) + " up to the last axis", shape_text(q_pe));
    }
  }
  check_extent("qPe", "qkRopeHeadDim", q_pe.shape[3], 1);
}

std::int64_t check_indptr(const char* argument, const std::vector<std::int32_t>& indptr, std::int64_t total, const char* rows_of) {
  if (indptr.empty()) fail_argument(ErrorCode::kInvalidArgument, argument, "batch + 1 integers that start at 0", "no integers");
  if (indptr[0] != 0) fail_argument(ErrorCode::kInvalidArgument, argument, "integers that start at 0", std::to_string(indptr[0]));
  std::int64_t longest = 0;
  for (std::size_t i = 1; i < indptr.size(); ++i) {
    const std::int64_t len = static_cast<std::int64_t>(indptr[i]) - indptr[i - 1];
    if (len < 0) {
      fail_argument(ErrorCode::kInvalidArgument, argument, "integers that never fall",
                    std::to_string(indptr[i - 1]) + " then " + std::to_string(indptr[i]) + " at index " + std::to_string(i));
    }
    longest = std::max(longest, len);
  }
  if (indptr.back() != total) {
    fail_argument(ErrorCode::kInvalidArgument, argument, std::string("the rows of ") + rows_of + " (" + std::to_string(total) + ") as its last integer",
                  std::to_string(indptr.back()));
  }
  return longest;
}

const std::int32_t* host_lens(const HostInts& lens, std::int64_t batch, std::int64_t max) {
  if (!lens) return nullptr;
  if (static_cast<std::int64_t>(lens->size()) != batch) {
    fail_argument(ErrorCode::kShapeMismatch, "lens", std::to_string(batch) + " integers (batch)", std::to_string(lens->size()));
  }
  for (std::int32_t len : *lens) {
    if (len < 0 || len > max) {
      fail_argument(ErrorCode::kInvalidArgument, "lens", "integers from 0 to " + std::to_string(max), std::to_string(len));
    }
  }
  return lens->data();
}

void derive_pages(AttentionProblem& p, const TensorView& pages, const TensorView& page_table, const TensorView& kv_lens, std::int64_t max_kv_len) {
  check_rank("pageTable", page_table, 2, "[batch, maxPages]");
  check_dim("pageTable", page_table, 0, p.batch, "batch");
  check_dtype("pageTable", page_table, DType::kInt32);
  check_same_device("pageTable", page_table, "q", pages);
  check_rank("kvLens", kv_lens, 1, "[batch]");
  check_dim("kvLens", kv_lens, 0, p.batch, "batch");
  check_dtype("kvLens", kv_lens, DType::kInt32);
  check_same_device("kvLens", kv_lens, "q", pages);
  check_extent("cache", "pageSize", pages.shape[1], 1);
  if (page_table.shape[1] > 1 && page_table.strides[1] != 1) {
    fail_argument(ErrorCode::kInvalidArgument, "pageTable", "rows with stride 1", "stride " + std::to_string(page_table.strides[1]));
  }
  p.num_pages = pages.shape[0];
  p.page_size = static_cast<int>(pages.shape[1]);
  p.page_table = reinterpret_cast<const std::int32_t*>(page_table.data);
  p.page_table_stride = page_table.strides[0];
  p.kv_lens = reinterpret_cast<const std::int32_t*>(kv_lens.data);
  p.kv_lens_stride = kv_lens.strides[0];
  // Whatever kv_lens turns out to hold, no more than the table's row can be read.
  p.kv_len = p.num_pages > 0 ? std::clamp<std::int64_t>(max_kv_len, 0, page_table.shape[1] * p.page_size) : 0;
}

namespace {

void derive_slopes(AttentionProblem& p, const Tensor& slopes, const TensorView& q, bool packed) {
  const TensorView& view = slopes.view;
  check_dtype("alibiSlopes", view, DType::kFloat32);
  check_same_device("alibiSlopes", view, "q", q);
  const bool per_sequence = view.rank == 2;
  if (view.rank != 1 && !per_sequence) fail_argument(ErrorCode::kShapeMismatch, "alibiSlopes", "shape [numQoHeads] or [batch, numQoHeads]", shape_text(view));
  check_dim("alibiSlopes", view, view.rank - 1, p.num_qo_heads, "numQoHeads");
  if (per_sequence) check_dim("alibiSlopes", view, 0, p.batch, packed ? "sequences" : "batch");
  p.alibi_slopes = reinterpret_cast<const float*>(view.data);
  p.alibi_head_stride = view.strides[view.rank - 1];
  p.alibi_sequence_stride = per_sequence ? view.strides[0] : 0;
}

/// `heads` are q, k or v, which `of` names; they may be scaled where they are float8_e4m3 and have no scales of their own.
void derive_scales(AttentionProblem& p, HeadScales& scales, const char* argument, const std::optional<Tensor>& given, const char* of, const HeadRows& heads,
                   const TensorView& q, std::vector<Tensor>& keep) {
  if (!given) return;
  const TensorView& view = given->view;
  if (is_compute_dtype(heads.dtype) || p.latent_scales) {
    fail_argument(ErrorCode::kInvalidArgument, argument, std::string("no scales where ") + of + " is " + dtype_name(heads.dtype) + ", not float8_e4m3",
                  "a tensor");
  }
  check_dtype(argument, view, DType::kFloat32);
  check_same_device(argument, view, "q", q);
  const bool per_sequence = view.rank == 2;
  if (view.rank != 1 && !per_sequence) fail_argument(ErrorCode::kShapeMismatch, argument, "shape [numKvHeads] or [batch, numKvHeads]", shape_text(view));
  check_dim(argument, view, view.rank - 1, p.num_kv_heads, "numKvHeads");
  if (per_sequence) check_dim(argument, view, 0, p.batch, p.qo_indptr ? "sequences" : "batch");
  scales.data = reinterpret_cast<const float*>(view.data);
  scales.head_stride = view.strides[view.rank - 1];
  scales.sequence_stride = per_sequence ? view.strides[0] : 0;
  keep.push_back(*given);
}

/// out has the dtype of compute queries; where they are float8_e4m3 the caller's choice.
DType out_dtype(const TensorView& q, const AttentionOptions& options) {
  if (is_compute_dtype(q.dtype)) {
    if (options.dtype) {
      fail_argument(ErrorCode::kInvalidArgument, "dtype", std::string("none where q is ") + dtype_name(q.dtype) + ": out has q's", dtype_name(*options.dtype));
    }
    return q.dtype;
  }
  if (options.out) check_compute_dtype("out", options.out->view);
  if (options.dtype) return *options.dtype;
  return options.out ? options.out->view.dtype : DType::kBFloat16;
}

}  // namespace

void derive_options(AttentionProblem& p, const TensorView& q, const AttentionOptions& options, std::vector<Tensor>& keep) {
  p.softmax_scale = options.softmax_scale.value_or(1.0f / std::sqrt(static_cast<float>(p.head_dim_qk)));
  p.logit_softcap = options.logit_softcap;
  p.window_left = options.window_left;
  p.window_right = options.window_right;
  if (options.causal) p.window_right = 0;  // of a window and causal, the tighter bound
  derive_scales(p, p.q_scales, "queryScales", options.query_scales, "q", p.q[0], q, keep);
  derive_scales(p, p.k_scales, "keyScales", options.key_scales, "k", p.k[0], q, keep);
  derive_scales(p, p.v_scales, "valueScales", options.value_scales, "v", p.v, q, keep);
  p.out.dtype = out_dtype(q, options);
  if (options.alibi_slopes) {
    derive_slopes(p, *options.alibi_slopes, q, p.qo_indptr != nullptr);
    keep.push_back(*options.alibi_slopes);
  }
  if (options.sinks) {
    const TensorView& view = options.sinks->view;
    check_dtype("sinks", view, DType::kFloat32);
    check_same_device("sinks", view, "q", q);
    check_rank("sinks", view, 1, "[numQoHeads]");
    check_dim("sinks", view, 0, p.num_qo_heads, "numQoHeads");
    p.sinks = reinterpret_cast<const float*>(view.data);
    p.sinks_stride = view.strides[0];
    keep.push_back(*options.sinks);
  }
}

Tensor attention_out(const AttentionProblem& p, const Tensor& q, const std::vector<std::int64_t>& shape, const AttentionOptions& options,
                     const std::vector<Tensor>& inputs) {
  if (!options.out) return empty_tensor(q.storage->backend(), p.out.dtype, shape);
  const TensorView& out = options.out->view;
  const TensorView wanted = contiguous_view(p.out.dtype, q.view.device, nullptr, shape);
  if (out.rank != wanted.rank || !std::equal(shape.begin(), shape.end(), out.shape.begin())) {
    fail_argument(ErrorCode::kShapeMismatch, "out", "shape " + shape_text(wanted), shape_text(out));
  }
  if (is_compute_dtype(q.view.dtype)) check_same_dtype("out", out, "q", q.view);
  check_dtype("out", out, p.out.dtype);
  check_same_device("out", out, "q", q.view);
  check_writable("out", out);
  for (const Tensor& input : inputs) check_no_overlap("out", out, "an input", input.view);
  return *options.out;
}

void set_schedule(AttentionProblem& p, const PlannedSchedule& schedule) {
  p.schedule = reinterpret_cast<const std::int32_t*>(schedule.words.view.data);
  p.schedule_parts = schedule.parts;
  p.schedule_pieces = schedule.pieces;
}

void set_out(AttentionProblem& p, const TensorView& out) {
  const int row_axis = out.rank - 3;
  p.out.data = out.data;
  p.out.dtype = out.dtype;
  p.out.sequence_stride = row_axis ? out.strides[0] : 0;
  p.out.row_stride = out.strides[row_axis];
  p.out.head_stride = out.strides[row_axis + 1];
  p.out.dim_stride = out.strides[row_axis + 2];
  p.out.dim = p.head_dim_vo;
}

Tensor lse_tensor(AttentionProblem& p, Backend& backend, const std::vector<std::int64_t>& out_shape) {
  const bool packed = out_shape.size() == 3;
  const std::int64_t rows = packed ? out_shape[0] : p.qo_len;
  Tensor lse = empty_tensor(backend, DType::kFloat32,
                            packed ? std::vector<std::int64_t>{p.num_qo_heads, rows} : std::vector<std::int64_t>{p.batch, p.num_qo_heads, rows});
  p.lse = reinterpret_cast<float*>(lse.view.data);
  p.lse_head_stride = rows;
  p.lse_sequence_stride = packed ? 0 : p.num_qo_heads * rows;
  return lse;
}

}  // namespace attn
