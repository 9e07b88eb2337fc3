// The last row of attention and MLA decoding on CUDA: takes every problem.

#include <algorithm>
#include <string>

#include "core/registry.h"
#include "cuda/kernels/attention/params.h"
#include "cuda/kernels/attention/problem.h"
#include "cuda/kernels/register_kernels.h"

namespace attn::cuda {
namespace {

constexpr std::int64_t kMaxGrid = 0x7fffffff;
constexpr std::int64_t kMaxStagedBytes = 48 * 1024;

const char* plain_kernel(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return "attention_plain_f16";
    case DType::kBFloat16: return "attention_plain_bf16";
    case DType::kFloat8E4M3: return "attention_plain_e4m3";
    default: return "attention_plain_f32";
  }
}

void run_plain(const AttentionProblem& problem, Execution& execution) {
  auto& gpu = static_cast<CudaExecution&>(execution);
  AttentionPlainParams params;
  params.num_row_tiles = (problem.qo_len * problem.group_size + kPlainRows - 1) / kPlainRows;
  params.num_chunks = std::max<std::int64_t>((problem.head_dim_vo + kPlainChunk - 1) / kPlainChunk, 1);
  params.num_work_items = problem.batch * problem.num_kv_heads * params.num_chunks * params.num_row_tiles;
  if (params.num_work_items == 0) return;
  params.problem = upload_problem(problem, gpu);
  params.vector_keys = vector_rows(problem.k[0]) && (problem.num_parts == 1 || vector_rows(problem.k[1]));
  const std::int64_t staged = static_cast<std::int64_t>(plain_query_stride(problem.head_dim_qk)) * kPlainRows * sizeof(float);
  params.staged_queries = staged <= kMaxStagedBytes;
  Grid grid;
  grid.x = static_cast<unsigned>(std::min(params.num_work_items, kMaxGrid));
  gpu.launch("attention", plain_kernel(problem.k[0].dtype), grid, kPlainRows * 32, params.staged_queries ? static_cast<unsigned>(staged) : 0, params);
}

template <class Problem>
void enter(const char* name, const char* op, DTypeMask dtypes) {
  Kernel<Problem> kernel;
  kernel.info = {name, op, DeviceType::kCuda, "sm80", dtypes, "any", ""};
  kernel.reject = [](const Kernel<Problem>&, const Problem&) -> std::optional<std::string> { return std::nullopt; };
  kernel.workspace = [](const Kernel<Problem>&, const Problem& problem, int) { return host_arrays_bytes(problem); };
  kernel.run = [](const Kernel<Problem>&, const Problem& problem, Execution& execution) { run_plain(problem, execution); };
  register_kernel(std::move(kernel));
}

}  // namespace

void register_attention_plain_kernels() {
  enter<AttentionProblem>("attention_plain_sm80", "attention", kComputeDTypes | mask_of(DType::kFloat8E4M3));
  enter<MlaDecodeProblem>("mla_decode_plain_sm80", "mlaDecode", kComputeDTypes);
}

}  // namespace attn::cuda
