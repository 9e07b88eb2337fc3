#include "core/attention.h"

#include <utility>

#include "core/attention_steps.h"
#include "core/check.h"
#include "core/enqueue.h"

namespace attn {
namespace {

/// One tensor of the call with the axes of AttentionProblem: sequence axis -1 where rows are packed.
HeadRows head_rows(const TensorView& view, bool packed) {
  HeadRows rows;
  const int row_axis = packed ? 0 : 1;
  rows.data = view.data;
  rows.dtype = view.dtype;
  rows.sequence_stride = packed ? 0 : view.strides[0];
  rows.row_stride = view.strides[row_axis];
  rows.head_stride = view.strides[row_axis + 1];
  rows.dim_stride = view.strides[row_axis + 2];
  rows.dim = static_cast<int>(view.shape[row_axis + 2]);
  return rows;
}

void check_kv_pair(const char* k_name, const TensorView& k, const char* v_name, const TensorView& v) {
  check_operand_dtype(k_name, k);
  check_same_dtype(v_name, v, k_name, k);
  check_same_device(v_name, v, k_name, k);
  for (int axis = 0; axis + 1 < k.rank; ++axis) {
    if (v.shape[axis] != k.shape[axis]) {
      fail_argument(ErrorCode::kShapeMismatch, v_name, std::string("the shape of ") + k_name + " " + shape_text(k) + " up to the last axis", shape_text(v));
    }
  }
}

/// q against k: heads and width.
void derive_heads(AttentionProblem& p, const TensorView& q, const char* k_name, const TensorView& k, const TensorView& v) {
  const int heads = q.rank - 2, dim = q.rank - 1;
  const int kv_heads = k.rank - 2, kv_dim = k.rank - 1;
  check_operand_dtype("q", q);
  if (!is_compute_dtype(q.dtype)) check_same_dtype(k_name, k, "q", q);
  check_same_device(k_name, k, "q", q);
  check_extent("q", "numQoHeads", q.shape[heads], 1);
  check_extent("q", "headDimQk", q.shape[dim], 1);
  check_extent(k_name, "numKvHeads", k.shape[kv_heads], 1);
  if (q.shape[heads] % k.shape[kv_heads] != 0) {
    fail_argument(ErrorCode::kShapeMismatch, k_name, "numKvHeads to divide numQoHeads (" + std::to_string(q.shape[heads]) + ")",
                  std::to_string(k.shape[kv_heads]));
  }
  if (k.shape[kv_dim] != q.shape[dim]) {
    fail_argument(ErrorCode::kShapeMismatch, k_name, "headDimQk of q (" + std::to_string(q.shape[dim]) + ")", std::to_string(k.shape[kv_dim]));
  }
  check_extent("v", "headDimVo", v.shape[v.rank - 1], 1);
  p.num_qo_heads = static_cast<int>(q.shape[heads]);
  p.num_kv_heads = static_cast<int>(k.shape[kv_heads]);
  p.group_size = p.num_qo_heads / p.num_kv_heads;
  p.head_dim_qk = static_cast<int>(q.shape[dim]);
  p.head_dim_vo = static_cast<int>(v.shape[v.rank - 1]);
}

AttentionOutput dense(const Tensor& q, const HeadRows (&k)[2], int num_parts, const Tensor* q_pe, const Tensor& v, AttentionProblem p, std::vector<Tensor> keep,
                      const AttentionOptions& options, const std::optional<Tensor>& kv_lens, const HostInts& qo_lens) {
  p.batch = q.view.shape[0];
  p.qo_len = q.view.shape[1];
  p.kv_len = v.view.shape[1];
  check_extent("q", "qoLen", p.qo_len, 0);
  check_extent("k", "kvLen", p.kv_len, 0);
  p.num_parts = num_parts;
  p.q[0] = head_rows(q.view, false);
  if (q_pe) p.q[1] = head_rows(q_pe->view, false);
  for (int i = 0; i < num_parts; ++i) p.k[i] = k[i];
  p.v = head_rows(v.view, false);
  if (kv_lens) {
    check_rank("kvLens", kv_lens->view, 1, "[batch]");
    check_dim("kvLens", kv_lens->view, 0, p.batch, "batch");
    check_dtype("kvLens", kv_lens->view, DType::kInt32);
    check_same_device("kvLens", kv_lens->view, "q", q.view);
    p.kv_lens = reinterpret_cast<const std::int32_t*>(kv_lens->view.data);
    p.kv_lens_stride = kv_lens->view.strides[0];
    keep.push_back(*kv_lens);
  }
  p.qo_lens = host_lens(qo_lens, p.batch, p.qo_len);
  derive_options(p, q.view, options, keep);
  return finish_attention<AttentionProblem>("flashAttention", p, q, {p.batch, p.qo_len, p.num_qo_heads, p.head_dim_vo}, options, std::move(keep), {qo_lens});
}

}  // namespace

AttentionOutput flash_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, const std::optional<Tensor>& kv_lens,
                                const HostInts& qo_lens) {
  check_rank("q", q.view, 4, "[batch, qoLen, numQoHeads, headDimQk]");
  check_rank("k", k.view, 4, "[batch, kvLen, numKvHeads, headDimQk]");
  check_rank("v", v.view, 4, "[batch, kvLen, numKvHeads, headDimVo]");
  check_kv_pair("k", k.view, "v", v.view);
  AttentionProblem p;
  derive_heads(p, q.view, "k", k.view, v.view);
  check_dim("k", k.view, 0, q.view.shape[0], "batch");
  const HeadRows parts[2] = {head_rows(k.view, false), {}};
  return dense(q, parts, 1, nullptr, v, p, {q, k, v}, options, kv_lens, qo_lens);
}

AttentionOutput mla_prefill(const Tensor& q_nope, const Tensor& q_pe, const Tensor& k_nope, const Tensor& k_pe, const Tensor& v,
                            const AttentionOptions& options, const std::optional<Tensor>& kv_lens, const HostInts& qo_lens) {
  check_rank("qNope", q_nope.view, 4, "[batch, qoLen, numHeads, qkNopeHeadDim]");
  check_rank("qPe", q_pe.view, 4, "[batch, qoLen, numHeads, qkRopeHeadDim]");
  check_rank("kNope", k_nope.view, 4, "[batch, kvLen, numHeads, qkNopeHeadDim]");
  check_rank("kPe", k_pe.view, 3, "[batch, kvLen, qkRopeHeadDim]");
  check_rank("v", v.view, 4, "[batch, kvLen, numHeads, vHeadDim]");
  check_compute_dtype("qNope", q_nope.view);
  check_compute_dtype("kNope", k_nope.view);
  check_kv_pair("kNope", k_nope.view, "v", v.view);
  check_q_parts(q_nope.view, q_pe.view);
  check_same_dtype("kPe", k_pe.view, "kNope", k_nope.view);
  check_same_device("kPe", k_pe.view, "kNope", k_nope.view);
  AttentionProblem p;
  derive_heads(p, q_nope.view, "kNope", k_nope.view, v.view);
  check_dim("kNope", k_nope.view, 0, q_nope.view.shape[0], "batch");
  check_dim("kPe", k_pe.view, 0, k_nope.view.shape[0], "batch");
  check_dim("kPe", k_pe.view, 1, k_nope.view.shape[1], "kvLen");
  check_dim("kPe", k_pe.view, 2, q_pe.view.shape[3], "qkRopeHeadDim");
  p.head_dim_qk += static_cast<int>(q_pe.view.shape[3]);
  // One rope key for all heads: broadcast by a head stride of 0.
  HeadRows shared;
  shared.data = k_pe.view.data;
  shared.dtype = k_pe.view.dtype;
  shared.sequence_stride = k_pe.view.strides[0];
  shared.row_stride = k_pe.view.strides[1];
  shared.dim_stride = k_pe.view.strides[2];
  shared.dim = static_cast<int>(k_pe.view.shape[2]);
  const HeadRows parts[2] = {head_rows(k_nope.view, false), shared};
  return dense(q_nope, parts, 2, &q_pe, v, p, {q_nope, q_pe, k_nope, k_pe, v}, options, kv_lens, qo_lens);
}

AttentionOutput flash_attention_varlen(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, const HostInts& qo_indptr,
                                       const HostInts& kv_indptr) {
  check_rank("q", q.view, 3, "[totalQo, numQoHeads, headDimQk]");
  check_rank("k", k.view, 3, "[totalKv, numKvHeads, headDimQk]");
  check_rank("v", v.view, 3, "[totalKv, numKvHeads, headDimVo]");
  check_kv_pair("k", k.view, "v", v.view);
  AttentionProblem p;
  derive_heads(p, q.view, "k", k.view, v.view);
  p.qo_len = check_indptr("qoIndptr", *qo_indptr, q.view.shape[0], "q");
  p.kv_len = check_indptr("kvIndptr", *kv_indptr, k.view.shape[0], "k");
  if (qo_indptr->size() != kv_indptr->size()) {
    fail_argument(ErrorCode::kShapeMismatch, "kvIndptr", std::to_string(qo_indptr->size()) + " items as in qoIndptr", std::to_string(kv_indptr->size()));
  }
  p.batch = static_cast<std::int64_t>(qo_indptr->size()) - 1;
  p.q[0] = head_rows(q.view, true);
  p.k[0] = head_rows(k.view, true);
  p.v = head_rows(v.view, true);
  p.qo_indptr = qo_indptr->data();
  p.kv_indptr = kv_indptr->data();
  std::vector<Tensor> keep = {q, k, v};
  derive_options(p, q.view, options, keep);
  return finish_attention<AttentionProblem>("flashAttentionVarlen", p, q, {q.view.shape[0], p.num_qo_heads, p.head_dim_vo}, options, std::move(keep),
                                            {qo_indptr, kv_indptr});
}

namespace {

AttentionProblem paged_problem(const TensorView& q, const TensorView& keys, const TensorView& values, const TensorView& page_table, const TensorView& kv_lens,
                               std::int64_t max_kv_len) {
  check_rank("q", q, 4, "[batch, qoLen, numQoHeads, headDimQk]");
  check_rank("keys", keys, 4, "[numPages, pageSize, numKvHeads, headDimQk]");
  check_rank("values", values, 4, "[numPages, pageSize, numKvHeads, headDimVo]");
  check_kv_pair("keys", keys, "values", values);
  AttentionProblem p;
  derive_heads(p, q, "keys", keys, values);
  p.batch = q.shape[0];
  p.qo_len = q.shape[1];
  check_extent("q", "qoLen", p.qo_len, 0);
  derive_pages(p, keys, page_table, kv_lens, max_kv_len);
  p.q[0] = head_rows(q, false);
  p.k[0] = head_rows(keys, false);
  p.v = head_rows(values, false);
  return p;
}

}  // namespace

AttentionOutput paged_attention(const Tensor& q, const Tensor& keys, const Tensor& values, const Tensor& page_table, const Tensor& kv_lens,
                                std::int64_t max_kv_len, const AttentionOptions& options, const HostInts& qo_lens) {
  AttentionProblem p = paged_problem(q.view, keys.view, values.view, page_table.view, kv_lens.view, max_kv_len);
  p.qo_lens = host_lens(qo_lens, p.batch, p.qo_len);
  std::vector<Tensor> keep = {q, keys, values, page_table, kv_lens};
  derive_options(p, q.view, options, keep);
  return finish_attention<AttentionProblem>("pagedAttention", p, q, {p.batch, p.qo_len, p.num_qo_heads, p.head_dim_vo}, options, std::move(keep), {qo_lens});
}

PlanInfo paged_attention_plan(const Tensor& keys, const Tensor& values, const Tensor& page_table, const Tensor& kv_lens, std::int64_t max_kv_len,
                              std::int64_t qo_len, std::int64_t num_qo_heads) {
  // A query of the planned shape that is never read. That of a float8_e4m3 cache is taken to be of bfloat16.
  const DType dtype = is_compute_dtype(keys.view.dtype) ? keys.view.dtype : DType::kBFloat16;
  const TensorView q =
      contiguous_view(dtype, keys.view.device, keys.view.data, {page_table.view.shape[0], qo_len, num_qo_heads, keys.view.shape[keys.view.rank - 1]});
  AttentionProblem p = paged_problem(q, keys.view, values.view, page_table.view, kv_lens.view, max_kv_len);
  p.window_right = 0;
  p.out.dtype = dtype;
  return plan_of<AttentionProblem>("pagedAttention", p, keys);
}

}  // namespace attn
