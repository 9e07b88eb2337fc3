// Rows of float8_e4m3 latents in and out of their pages: registry rows and launches.

#include "core/latent_rows.h"
#include "cuda/kernels/latent_rows/params.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/kernels/rows.h"
#include "cuda/launch.h"

namespace attn::cuda {
namespace {

constexpr const char* kOp = "latent_rows";

/// The host's list in the workspace.
const std::int32_t* upload_list(CudaExecution& gpu, const HostInts& list) {
  gpu.upload(gpu.workspace, list->data(), list->size() * sizeof(std::int32_t));
  return reinterpret_cast<const std::int32_t*>(gpu.workspace);
}

Grid row_blocks(std::int64_t rows) { return {static_cast<unsigned>(divide_up(rows, kLatentRowThreads / 32))}; }

void append(const Kernel<LatentAppendProblem>&, const LatentAppendProblem& problem, Execution& execution) {
  if (problem.slots->empty()) return;
  auto& gpu = static_cast<CudaExecution&>(execution);
  LatentAppendParams params{};
  params.ckv = problem.ckv.data;
  params.k_pe = problem.k_pe.data;
  params.latents = problem.latents.data;
  params.slots = upload_list(gpu, problem.slots);
  for (int i = 0; i < 3; ++i) {
    params.ckv_strides[i] = problem.ckv.strides[i];
    params.k_pe_strides[i] = problem.k_pe.strides[i];
  }
  params.rows = problem.ckv.shape[0] * problem.ckv.shape[1];
  params.new_len = problem.ckv.shape[1];
  params.ckv_dtype = problem.ckv.dtype;
  params.k_pe_dtype = problem.k_pe.dtype;
  gpu.launch(kOp, "latent_append_any", row_blocks(params.rows), kLatentRowThreads, 0, params);
}

void gather(const Kernel<LatentGatherProblem>&, const LatentGatherProblem& problem, Execution& execution) {
  if (problem.dst.shape[0] == 0) return;
  auto& gpu = static_cast<CudaExecution&>(execution);
  LatentGatherParams params{};
  params.latents = problem.latents.data;
  params.dst = problem.dst.data;
  params.page_list = upload_list(gpu, problem.page_list);
  params.page_size = problem.latents.shape[1];
  params.begin = problem.begin;
  params.rows = problem.dst.shape[0];
  params.dtype = problem.dst.dtype;
  gpu.launch(kOp, "latent_gather_any", row_blocks(params.rows), kLatentRowThreads, 0, params);
}

}  // namespace

void register_latent_row_kernels() {
  register_kernel<LatentAppendProblem>(
      {.info = sm80_kernel("latent_append", "latentAppend", kComputeDTypes, "512/64"),
       .reject = accept<LatentAppendProblem>,
       .workspace = [](const Kernel<LatentAppendProblem>&, const LatentAppendProblem& p, int) { return p.slots->size() * sizeof(std::int32_t); },
       .run = append});
  register_kernel<LatentGatherProblem>(
      {.info = sm80_kernel("latent_gather", "latentGather", kComputeDTypes, "512/64"),
       .reject = accept<LatentGatherProblem>,
       .workspace = [](const Kernel<LatentGatherProblem>&, const LatentGatherProblem& p, int) { return p.page_list->size() * sizeof(std::int32_t); },
       .run = gather});
}

}  // namespace attn::cuda
