// The row of attention for many queries on Hopper: which problems it takes, its tensor maps and its grid.

#include <algorithm>
#include <iterator>
#include <numeric>
#include <string>

#include "core/registry.h"
#include "cuda/kernels/attention/prefill_params.h"
#include "cuda/kernels/attention/problem.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/kernels/rows.h"
#include "cuda/tensor_map.h"

namespace attn::cuda {
namespace {

struct Instance {
  PrefillShape shape;
  DType dtype;  // of q, k and v
  const char* kernel;
  bool two_parts = false;
};
constexpr Instance kInstances[] = {
    {kPrefillShapes[0], DType::kFloat16, "attention_prefill_f16_64"},
    {kPrefillShapes[0], DType::kBFloat16, "attention_prefill_bf16_64"},
    {kPrefillShapes[1], DType::kFloat16, "attention_prefill_f16_96"},
    {kPrefillShapes[1], DType::kBFloat16, "attention_prefill_bf16_96"},
    {kPrefillShapes[2], DType::kFloat16, "attention_prefill_f16_128"},
    {kPrefillShapes[2], DType::kBFloat16, "attention_prefill_bf16_128"},
    {kPrefillShapes[kPrefillTwoParts], DType::kFloat16, "attention_prefill_f16_192_128", true},
    {kPrefillShapes[kPrefillTwoParts], DType::kBFloat16, "attention_prefill_bf16_192_128", true},
    {kPrefillShapes[4], DType::kFloat16, "attention_prefill_f16_256"},
    {kPrefillShapes[4], DType::kBFloat16, "attention_prefill_bf16_256"},
    {kPrefillByteShapes[0], DType::kFloat8E4M3, "attention_prefill_e4m3_64"},
    {kPrefillByteShapes[1], DType::kFloat8E4M3, "attention_prefill_e4m3_128"},
    {kPrefillByteShapes[2], DType::kFloat8E4M3, "attention_prefill_e4m3_256"},
};

constexpr DTypeMask kDTypes = mask_of(DType::kFloat16) | mask_of(DType::kBFloat16) | mask_of(DType::kFloat8E4M3);
constexpr int kSmallestBox = 8;                  // rows, as many as the swizzle repeats after; fewer in a page are gathered
constexpr int kGatheredBytes = 16;               // of one copy
constexpr std::int64_t kSectionBytes = 8 << 20;  // of keys and values that blocks running together share in the L2 cache

/// The first that holds the heads, or null.
const Instance* instance_for(const AttentionProblem& p) {
  for (const Instance& instance : kInstances) {
    const PrefillShape& shape = instance.shape;
    if (instance.dtype != p.k[0].dtype) continue;
    if (p.head_dim_qk > shape.head_dim_qk || p.head_dim_vo > shape.head_dim_vo || (p.num_parts == 2 && !instance.two_parts)) continue;
    if (p.num_parts == 2 && prefill_boxes(shape, p.q[0].dim) + prefill_boxes(shape, p.q[1].dim) > prefill_boxes(shape, shape.head_dim_qk)) continue;
    return &instance;
  }
  return nullptr;
}

int queries_of(const AttentionProblem& p, PrefillShape shape) { return prefill_rows(shape) / p.group_size; }
std::int64_t row_tiles(const AttentionProblem& p, PrefillShape shape) { return divide_up(p.qo_len, queries_of(p, shape)); }
/// Keys that one copy takes: as many as a page and a step are both multiples of.
int box_rows(const AttentionProblem& p, PrefillShape shape) { return p.page_table ? std::gcd(p.page_size, shape.tile_kv) : shape.tile_kv; }
bool gathered(const AttentionProblem& p, PrefillShape shape) { return box_rows(p, shape) % kSmallestBox != 0; }

TensorMapShape query_map(const AttentionProblem& p, const HeadRows& rows, PrefillShape shape) {
  const std::int64_t total = p.qo_indptr ? p.qo_indptr[p.batch] : p.qo_len, sequences = p.qo_indptr || rows.sequence_stride == 0 ? 1 : p.batch;
  return {rows.data,
          rows.dtype,
          4,
          {{rows.dim, rows.dim_stride, prefill_box_features(shape)},
           {p.num_qo_heads, rows.head_stride, p.group_size},
           {total, rows.row_stride, queries_of(p, shape)},
           {sequences, rows.sequence_stride, 1}},
          static_cast<TensorMapSwizzle>(shape.box_bytes)};
}

TensorMapShape kv_map(const AttentionProblem& p, const HeadRows& rows, PrefillShape shape) {
  std::int64_t total = p.kv_len, sequences = rows.sequence_stride == 0 ? 1 : p.batch;
  if (p.kv_indptr) {
    total = p.kv_indptr[p.batch];
    sequences = 1;
  } else if (p.page_table) {
    total = p.page_size;
    sequences = p.num_pages;
  }
  return {rows.data,
          rows.dtype,
          4,
          {{rows.dim, rows.dim_stride, prefill_box_features(shape)},
           {total, rows.row_stride, box_rows(p, shape)},
           {rows.head_stride == 0 ? 1 : p.num_kv_heads, rows.head_stride, 1},
           {sequences, rows.sequence_stride, 1}},
          static_cast<TensorMapSwizzle>(shape.box_bytes)};
}

std::optional<std::string> reject(const Kernel<AttentionProblem>&, const AttentionProblem& p) {
  if (auto reason = hopper_missing()) return reason;
  const DType dtype = p.k[0].dtype;
  if ((mask_of(dtype) & kDTypes) == 0) return "keys are " + std::string(dtype_name(dtype)) + ", not float16, bfloat16 or float8_e4m3";
  if (p.q[0].dtype != dtype) return "q is " + std::string(dtype_name(p.q[0].dtype)) + ", keys are " + dtype_name(dtype);
  const Instance* instance = instance_for(p);
  if (!instance && p.num_parts == 2) return "two parts of more than 192 features in pieces of 64, or values wider than 128, or float8_e4m3";
  if (!instance) return "head dims above 256";
  const PrefillShape& shape = instance->shape;
  if (auto reason = shared_memory_missing(prefill_shared_bytes(shape))) return reason;
  if (p.group_size > prefill_rows(shape)) return "more than " + std::to_string(prefill_rows(shape)) + " query heads per kv head";
  const auto unfit = [](const char* name, const TensorMapShape& map) -> std::optional<std::string> {
    if (auto reason = tensor_map_unfit(map)) return std::string(name) + ": " + *reason;
    return std::nullopt;
  };
  for (int part = 0; part < p.num_parts; ++part) {
    if (auto reason = unfit("q", query_map(p, p.q[part], shape))) return reason;
    if (auto reason = unfit("k", kv_map(p, p.k[part], shape))) return reason;
  }
  if (auto reason = unfit("v", kv_map(p, p.v, shape))) return reason;
  if (p.head_dim_vo % 8 != 0) return "values are no whole pieces of 8 features";
  if (gathered(p, shape)) {
    for (const HeadRows* rows : {&p.k[0], &p.k[p.num_parts - 1], &p.v}) {
      if (rows->dim * shape.element_bytes % kGatheredBytes != 0) return "pages are no multiple of 8 tokens, rows no multiple of 16 bytes";
    }
  }
  constexpr std::int64_t kMax = 0x7fffffff;
  if (p.qo_len * p.group_size > kMax || p.kv_len > kMax - shape.tile_kv) return "more than 2^31 rows";
  if (p.batch * p.num_kv_heads * row_tiles(p, shape) > kMax / 2) return "more than 2^30 tiles";
  return std::nullopt;
}

PrefillParams params_of(const AttentionProblem& p, PrefillShape shape) {
  PrefillParams params = {};
  params.queries = queries_of(p, shape);
  params.box_rows = box_rows(p, shape);
  params.gathered = gathered(p, shape);
  const int boxes = prefill_boxes(shape, shape.head_dim_qk);
  params.boxes[0] = p.num_parts == 2 ? prefill_boxes(shape, p.q[0].dim) : boxes;
  params.boxes[1] = boxes - params.boxes[0];
  const bool maps_keys = !params.gathered && p.kv_len > 0 && (!p.kv_indptr || p.kv_indptr[p.batch] > 0) && (!p.page_table || p.num_pages > 0);
  const auto step = [](std::int64_t stride) { return stride == 0 ? 0 : 1; };
  for (int part = 0; part < 2; ++part) {
    const int from = part < p.num_parts ? part : 0;
    params.q[part] = encode_tensor_map(query_map(p, p.q[from], shape));
    params.q_sequences[part] = p.qo_indptr ? 0 : step(p.q[from].sequence_stride);
    // No step reads a map of keys where there are none.
    params.k[part] = maps_keys ? encode_tensor_map(kv_map(p, p.k[from], shape)) : params.q[part];
    params.k_heads[part] = step(p.k[from].head_stride);
    params.k_sequences[part] = p.kv_indptr ? 0 : step(p.k[from].sequence_stride);
  }
  params.v = maps_keys ? encode_tensor_map(kv_map(p, p.v, shape)) : params.q[0];
  params.v_heads = step(p.v.head_stride);
  params.v_sequences = p.kv_indptr ? 0 : step(p.v.sequence_stride);

  params.num_row_tiles = static_cast<std::uint32_t>(row_tiles(p, shape));
  params.num_heads = static_cast<std::uint32_t>(p.batch * p.num_kv_heads);
  params.num_items = params.num_row_tiles * params.num_heads;
  const std::int64_t head_bytes = std::max<std::int64_t>(p.kv_len, 1) * (p.head_dim_qk + p.head_dim_vo) * shape.element_bytes;
  params.section_heads = static_cast<std::uint32_t>(std::clamp<std::int64_t>(kSectionBytes / head_bytes, 1, params.num_heads));
  params.vector_out = vector_rows(p.out);
  return params;
}

void run(const Kernel<AttentionProblem>&, const AttentionProblem& p, Execution& execution) {
  auto& gpu = static_cast<CudaExecution&>(execution);
  if (p.batch == 0 || p.qo_len == 0 || p.num_kv_heads == 0) return;
  const Instance* instance = instance_for(p);
  const PrefillShape& shape = instance->shape;
  PrefillParams params = params_of(p, shape);
  params.problem = upload_problem(p, gpu);
  HopperLaunch how;
  how.grid.x = std::min(params.num_items, static_cast<std::uint32_t>(gpu.device().num_sms));
  how.threads = static_cast<unsigned>(prefill_threads(shape));
  how.shared_bytes = static_cast<unsigned>(prefill_shared_bytes(shape));
  gpu.launch("attention", instance->kernel, how, params);
}

}  // namespace

void register_attention_prefill_kernels() {
  Kernel<AttentionProblem> kernel;
  kernel.info = sm90a_kernel("attention_prefill", "attention", kDTypes, "8-256");
  kernel.reject = reject;
  kernel.workspace = [](const Kernel<AttentionProblem>&, const AttentionProblem& problem, int) { return host_arrays_bytes(problem); };
  kernel.run = run;
  register_kernel(std::move(kernel));
}

}  // namespace attn::cuda
