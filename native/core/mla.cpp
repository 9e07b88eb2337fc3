#include "core/attention_steps.h"
#include "core/latent_rows.h"

namespace attn {
namespace {

/// k[0], k[1] and the latent's scales of rows in float8_e4m3.
void set_latent_rows(MlaDecodeProblem& p, const TensorView& latents) {
  constexpr std::int64_t kHalf = dtype_size(DType::kBFloat16), kFloat = dtype_size(DType::kFloat32);
  const std::int64_t page = latents.strides[0], row = latents.strides[1];
  p.k[0] = {latents.data, DType::kFloat8E4M3, page, row, 0, 1, LatentRow::kLatentDim};
  p.k[1] = {latents.data + LatentRow::kRopeAt, DType::kBFloat16, page / kHalf, row / kHalf, 0, 1, LatentRow::kRopeDim};
  p.latent_scales = reinterpret_cast<const float*>(latents.data + LatentRow::kScalesAt);
  p.latent_scales_page_stride = page / kFloat;
  p.latent_scales_row_stride = row / kFloat;
}

/// The width of a row that holds so many features.
void check_row_width(const TensorView& latents, std::int64_t rank, std::int64_t rope) {
  const std::string received = std::to_string(rank) + " + " + std::to_string(rope);
  if (latents.dtype == DType::kFloat8E4M3) {
    check_latent_rows(latents);
    if (rank == LatentRow::kLatentDim && rope == LatentRow::kRopeDim) return;
    fail_argument(ErrorCode::kShapeMismatch, "qNope", "kvLoraRank + qkRopeHeadDim to be 512 + 64, as in a cache's rows of float8_e4m3", received);
  }
  if (latents.shape[2] == rank + rope) return;
  fail_argument(ErrorCode::kShapeMismatch, "qNope", "kvLoraRank + qkRopeHeadDim to be the cache's row width (" + std::to_string(latents.shape[2]) + ")",
                received);
}

MlaDecodeProblem decode_problem(const TensorView& q_nope, const TensorView& q_pe, const TensorView& latents, const TensorView& page_table,
                                const TensorView& kv_lens, std::int64_t max_kv_len) {
  check_rank("qNope", q_nope, 4, "[batch, qoLen, numHeads, kvLoraRank]");
  check_rank("qPe", q_pe, 4, "[batch, qoLen, numHeads, qkRopeHeadDim]");
  check_rank("latents", latents, 3, "[numPages, pageSize, kvLoraRank + qkRopeHeadDim]");
  check_compute_dtype("qNope", q_nope);
  check_operand_dtype("latents", latents);
  check_q_parts(q_nope, q_pe);
  check_same_device("latents", latents, "qNope", q_nope);
  check_extent("qNope", "qoLen", q_nope.shape[1], 0);
  check_extent("qNope", "numHeads", q_nope.shape[2], 1);
  check_extent("qNope", "kvLoraRank", q_nope.shape[3], 1);
  const std::int64_t rank = q_nope.shape[3], rope = q_pe.shape[3];
  check_row_width(latents, rank, rope);
  MlaDecodeProblem p;
  p.batch = q_nope.shape[0];
  p.qo_len = q_nope.shape[1];
  p.num_qo_heads = p.group_size = static_cast<int>(q_nope.shape[2]);
  p.num_kv_heads = 1;
  p.head_dim_qk = static_cast<int>(rank + rope);
  p.head_dim_vo = static_cast<int>(rank);
  derive_pages(p, latents, page_table, kv_lens, max_kv_len);

  const auto q_part = [](const TensorView& view) {
    return HeadRows{view.data, view.dtype, view.strides[0], view.strides[1], view.strides[2], view.strides[3], static_cast<int>(view.shape[3])};
  };
  const auto row_part = [&](std::int64_t first, std::int64_t dim) {
    return HeadRows{latents.data + first * latents.strides[2] * dtype_size(latents.dtype),
                    latents.dtype,
                    latents.strides[0],
                    latents.strides[1],
                    0,
                    latents.strides[2],
                    static_cast<int>(dim)};
  };
  p.num_parts = 2;
  p.q[0] = q_part(q_nope);
  p.q[1] = q_part(q_pe);
  if (latents.dtype == DType::kFloat8E4M3) {
    set_latent_rows(p, latents);
  } else {
    p.k[0] = row_part(0, rank);
    p.k[1] = row_part(rank, rope);
  }
  p.v = p.k[0];
  p.v_in_k = true;
  return p;
}

}  // namespace

AttentionOutput mla_decode(const Tensor& q_nope, const Tensor& q_pe, const Tensor& latents, const Tensor& page_table, const Tensor& kv_lens,
                           std::int64_t max_kv_len, const AttentionOptions& options, const HostInts& qo_lens, const std::optional<PlannedSchedule>& schedule) {
  MlaDecodeProblem p = decode_problem(q_nope.view, q_pe.view, latents.view, page_table.view, kv_lens.view, max_kv_len);
  if (!options.softmax_scale) {
    fail_argument(ErrorCode::kInvalidArgument, "softmaxScale", "a finite number (1/sqrt(qkNopeHeadDim + qkRopeHeadDim))", "undefined");
  }
  p.qo_lens = host_lens(qo_lens, p.batch, p.qo_len);
  std::vector<Tensor> keep = {q_nope, q_pe, latents, page_table, kv_lens};
  derive_options(p, q_nope.view, options, keep);
  if (schedule) {
    set_schedule(p, *schedule);
    keep.push_back(schedule->words);
  }
  return finish_attention<MlaDecodeProblem>("mlaDecode", p, q_nope, {p.batch, p.qo_len, p.num_qo_heads, p.head_dim_vo}, options, std::move(keep), {qo_lens});
}

PlanInfo mla_decode_plan(const Tensor& latents, const Tensor& page_table, const Tensor& kv_lens, std::int64_t max_kv_len, std::int64_t qo_len,
                         std::int64_t num_heads, std::int64_t kv_lora_rank, const HostInts& host_kv_lens) {
  // Queries of the planned shape that are never read. Those of a float8_e4m3 cache are taken to be of bfloat16.
  const TensorView& c = latents.view;
  const bool narrow = c.dtype == DType::kFloat8E4M3;
  const DType dtype = narrow ? DType::kBFloat16 : c.dtype;
  const std::int64_t batch = page_table.view.shape[0], width = narrow ? LatentRow::kLatentDim + LatentRow::kRopeDim : c.shape[c.rank - 1];
  const TensorView q_nope = contiguous_view(dtype, c.device, c.data, {batch, qo_len, num_heads, kv_lora_rank});
  const TensorView q_pe = contiguous_view(dtype, c.device, c.data, {batch, qo_len, num_heads, width - kv_lora_rank});
  MlaDecodeProblem p = decode_problem(q_nope, q_pe, c, page_table.view, kv_lens.view, max_kv_len);
  p.window_right = 0;
  p.out.dtype = dtype;
  return plan_of<MlaDecodeProblem>("mlaDecode", p, latents, host_kv_lens);
}

}  // namespace attn
