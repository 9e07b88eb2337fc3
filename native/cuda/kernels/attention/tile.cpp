// The tensor core row of attention: which problems it takes, and their grid.

#include <algorithm>
#include <iterator>
#include <string>

#include "core/registry.h"
#include "cuda/kernels/attention/params.h"
#include "cuda/kernels/attention/problem.h"
#include "cuda/kernels/register_kernels.h"

namespace attn::cuda {
namespace {

// In the order of kTileShapes.
constexpr const char* kKernels[][2] = {{"attention_tile_f16_64", "attention_tile_bf16_64"},
                                       {"attention_tile_f16_128", "attention_tile_bf16_128"},
                                       {"attention_tile_f16_192_128", "attention_tile_bf16_192_128"},
                                       {"attention_tile_f16_256", "attention_tile_bf16_256"}};

/// The first shape that holds the heads, or -1.
int shape_of(const AttentionProblem& p) {
  for (int n = 0; n < static_cast<int>(std::size(kTileShapes)); ++n) {
    if (p.num_parts == 2 && n != kTwoPartShape) continue;
    if (p.head_dim_qk <= kTileShapes[n].head_dim_qk && p.head_dim_vo <= kTileShapes[n].head_dim_vo) return n;
  }
  return -1;
}

std::int64_t num_row_tiles(const AttentionProblem& p, AttentionTileShape shape) { return (p.qo_len * p.group_size + tile_rows(shape) - 1) / tile_rows(shape); }

std::optional<std::string> reject_tile(const AttentionProblem& p) {
  const DType dtype = p.k[0].dtype;
  if (dtype != DType::kFloat16 && dtype != DType::kBFloat16) return "keys are " + std::string(dtype_name(dtype)) + ", not float16 or bfloat16";
  if (p.q[0].dtype != dtype) return "q is " + std::string(dtype_name(p.q[0].dtype)) + ", keys are " + dtype_name(dtype);
  const int shape = shape_of(p);
  if (shape < 0) return p.num_parts == 2 ? "two parts wider than 192, or values wider than 128" : "head dims above 256";
  if (auto reason = shared_memory_missing(tile_shared_bytes(kTileShapes[shape]))) return reason;
  bool whole = vector_rows(p.v);
  for (int part = 0; part < p.num_parts; ++part) whole = whole && vector_rows(p.q[part]) && vector_rows(p.k[part]);
  if (!whole) return "rows are not whole, aligned pieces of 16 bytes";
  constexpr std::int64_t kMax = 0x7fffffff;
  if (p.qo_len * p.group_size > kMax) return "more than 2^31 query rows per kv head";
  if (p.batch * p.num_kv_heads * num_row_tiles(p, kTileShapes[shape]) > kMax) return "more tiles than a grid holds";
  return std::nullopt;
}

}  // namespace

void register_attention_kernels() {
  Kernel<AttentionProblem> kernel;
  kernel.info = {"attention_tile_sm80", "attention", DeviceType::kCuda, "sm80", mask_of(DType::kFloat16) | mask_of(DType::kBFloat16), "8-256", ""};
  kernel.reject = [](const Kernel<AttentionProblem>&, const AttentionProblem& problem) { return reject_tile(problem); };
  kernel.workspace = [](const Kernel<AttentionProblem>&, const AttentionProblem& problem, int) { return host_arrays_bytes(problem); };
  kernel.run = [](const Kernel<AttentionProblem>&, const AttentionProblem& problem, Execution& execution) {
    auto& gpu = static_cast<CudaExecution&>(execution);
    const int shape = shape_of(problem);
    if (problem.batch == 0 || problem.qo_len == 0) return;
    AttentionTileParams params;
    params.num_row_tiles = static_cast<std::uint32_t>(num_row_tiles(problem, kTileShapes[shape]));
    params.num_heads = static_cast<std::uint32_t>(problem.batch * problem.num_kv_heads);
    params.problem = upload_problem(problem, gpu);
    params.vector_out = vector_rows(problem.out);
    Grid grid;
    grid.x = params.num_row_tiles * params.num_heads;
    gpu.launch("attention", kKernels[shape][problem.k[0].dtype == DType::kBFloat16], grid, kTileWarps * 32,
               static_cast<unsigned>(tile_shared_bytes(kTileShapes[shape])), params);
  };
  register_kernel(std::move(kernel));
}

}  // namespace attn::cuda
