#include "cuda/kernels/attention_split/plan.h"

#include <algorithm>
#include <cstdint>

#include "cuda/kernels/attention/problem.h"
#include "cuda/kernels/attention_split/params.h"

namespace attn::cuda {
namespace {

constexpr std::int64_t kChunkElements = 8;  // 16 bytes
constexpr std::size_t kAlignment = 256;

/// With more rows prefill's larger tiles read keys less often,
constexpr std::int64_t kMaxRows = 64;
/// unless the rows are heads of this few queries: then the keys must be split to fill the device.
constexpr std::int64_t kFewQueries = 4;

bool is_aligned(const HeadRows& rows) {
  const auto whole = [](std::int64_t elements) { return elements % kChunkElements == 0; };
  return reinterpret_cast<std::uintptr_t>(rows.data) % 16 == 0 && whole(rows.sequence_stride) && whole(rows.row_stride) && whole(rows.head_stride) &&
         whole(rows.dim);
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Rows of partial results.
std::int64_t state_rows(const AttentionProblem& p) { return p.batch * p.num_kv_heads * num_splits(p) * max_rows(p); }

std::size_t outs_bytes(const AttentionProblem& p, std::int64_t rows) {
  const std::size_t bytes = static_cast<std::size_t>(rows) * static_cast<std::size_t>(p.head_dim_vo) * sizeof(float);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::size_t states_workspace(const AttentionProblem& p, std::int64_t rows) {
  return host_arrays_bytes(p) + outs_bytes(p, rows) + static_cast<std::size_t>(rows) * sizeof(float);
}

}  // namespace

std::int64_t max_rows(const AttentionProblem& p) { return p.qo_len * p.group_size; }

std::optional<std::string> split_shape_missing(const AttentionProblem& p) {
  if (p.num_parts != 1 || p.v_in_k) return "takes queries and keys of one part";
  if (max_rows(p) > kMaxRows && p.qo_len > kFewQueries) {
    return "takes up to " + std::to_string(kMaxRows) + " query rows per kv head, or " + std::to_string(kFewQueries) + " queries, received " +
           std::to_string(max_rows(p)) + " rows";
  }
  return std::nullopt;
}

std::optional<std::string> split_inputs_missing(const AttentionProblem& p) {
  if (p.q[0].dtype != p.k[0].dtype || (mask_of(p.q[0].dtype) & kSplitDTypes) == 0) {
    return "takes float16 or bfloat16, queries and keys alike";
  }
  for (int part = 0; part < p.num_parts; ++part) {
    if (p.q[part].dim_stride != 1 || p.k[part].dim_stride != 1) return "takes adjacent features";
    if (!is_aligned(p.q[part]) || !is_aligned(p.k[part])) return "takes rows of whole 16-byte chunks at addresses that are multiples of 16";
  }
  if (p.v.dim_stride != 1) return "takes adjacent features";
  if (!is_aligned(p.v)) return "takes rows of whole 16-byte chunks at addresses that are multiples of 16";
  return std::nullopt;
}

std::int64_t split_len(const AttentionProblem& p) { return p.num_kv_heads >= 4 || p.v_in_k ? 512 : 256; }

std::int64_t num_splits(const AttentionProblem& p) { return ceil_div(p.kv_len, split_len(p)); }

std::int64_t split_blocks(const AttentionProblem& p, int tile_rows) { return p.batch * p.num_kv_heads * ceil_div(max_rows(p), tile_rows) * num_splits(p); }

std::size_t split_workspace(const AttentionProblem& p) { return states_workspace(p, state_rows(p)); }

std::size_t pieces_workspace(const AttentionProblem& p, std::int64_t pieces) { return states_workspace(p, pieces * max_rows(p)); }

std::int64_t combine_grid(const AttentionProblem& p) { return ceil_div(p.batch * p.qo_len * p.num_qo_heads, kCombineRows); }

SplitParams split_params(const AttentionProblem& problem, int tile_rows, CudaExecution& gpu, std::int64_t pieces) {
  SplitParams params{};
  params.problem = upload_problem(problem, gpu);
  std::byte* states = gpu.workspace + host_arrays_bytes(problem);
  params.outs = reinterpret_cast<float*>(states);
  params.lses = reinterpret_cast<float*>(states + outs_bytes(problem, pieces > 0 ? pieces * max_rows(problem) : state_rows(problem)));
  params.max_rows = max_rows(problem);
  params.split_len = static_cast<std::int32_t>(split_len(problem));
  params.num_splits = static_cast<std::int32_t>(num_splits(problem));
  params.row_tiles = static_cast<std::int32_t>(ceil_div(params.max_rows, tile_rows));
  return params;
}

void run_split(const AttentionProblem& problem, const char* op, const std::string& tile_name, const SplitTile& tile, CudaExecution& gpu) {
  const std::int64_t combine_blocks = combine_grid(problem);
  if (combine_blocks == 0) return;
  const SplitParams params = split_params(problem, tile.rows(), gpu);
  const std::string prefix = std::string(op) + (problem.q[0].dtype == DType::kFloat16 ? "_f16_" : "_bf16_");
  const std::int64_t blocks = split_blocks(problem, tile.rows());
  if (blocks > 0) {
    gpu.launch(op, (prefix + tile_name).c_str(), {static_cast<unsigned>(blocks)}, static_cast<unsigned>(tile.threads()),
               static_cast<unsigned>(tile.shared_bytes()), params);
  }
  gpu.launch(op, (prefix + "combine").c_str(), {static_cast<unsigned>(combine_blocks)}, 32 * kCombineRows, 0, params);
}

}  // namespace attn::cuda
