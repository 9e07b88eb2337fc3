#include "core/rope.h"

#include <numbers>
#include <string>
#include <vector>

#include "cuda/kernels/register_kernels.h"
#include "cuda/kernels/rope/params.h"
#include "cuda/kernels/rows.h"
#include "cuda/launch.h"

namespace attn::cuda {
namespace {

/// Rows, halves and what comes before them start at multiples of 16 bytes.
bool has_wide_rows(const RopeProblem& problem) {
  const std::int64_t items = 16 / dtype_size(problem.x.dtype);
  const auto fits = [&](const TensorView& view) {
    return is_aligned(view.data, 16) && view.strides[0] % items == 0 && view.strides[1] % items == 0 && view.strides[2] % items == 0;
  };
  return fits(problem.x) && fits(problem.y) && problem.dim / 2 % items == 0 && problem.x.shape[3] % items == 0;
}

std::optional<std::string> reject_narrow(const RopeProblem& problem) {
  if (!has_wide_rows(problem)) return "rows and half of dim must be multiples of 16 bytes";
  return std::nullopt;
}

std::optional<std::string> reject_wide(const Kernel<RopeProblem>&, const RopeProblem& problem) { return reject_narrow(problem); }

std::size_t turns_bytes(const RopeProblem& problem) { return problem.inverse_frequencies->size() * sizeof(double); }

std::size_t workspace(const Kernel<RopeProblem>&, const RopeProblem& problem, int) { return turns_bytes(problem); }

std::optional<std::string> reject_wide_append(const Kernel<RopeAppendProblem>&, const RopeAppendProblem& problem) { return reject_narrow(problem.rope); }

std::size_t append_workspace(const Kernel<RopeAppendProblem>&, const RopeAppendProblem& problem, int) {
  return turns_bytes(problem.rope) + problem.slots->size() * sizeof(std::int32_t);
}

/// `slots` may be null.
void launch_rope(const char* variant, const RopeProblem& problem, const HostInts& slots, Execution& execution) {
  const TensorView &x = problem.x, &y = problem.y;
  if (x.size() == 0) return;
  auto& gpu = static_cast<CudaExecution&>(execution);
  std::vector<double> turns(*problem.inverse_frequencies);
  for (double& frequency : turns) frequency /= 2 * std::numbers::pi;
  gpu.upload(gpu.workspace, turns.data(), turns.size() * sizeof(double));
  RopeParams params{};
  params.x = x.data;
  params.y = y.data;
  params.positions = problem.positions;
  params.turns = reinterpret_cast<const double*>(gpu.workspace);
  for (int i = 0; i < 3; ++i) {
    params.x_strides[i] = x.strides[i];
    params.y_strides[i] = y.strides[i];
  }
  params.positions_batch_stride = problem.positions_batch_stride;
  params.positions_row_stride = problem.positions_row_stride;
  params.len = x.shape[1];
  params.heads = x.shape[2];
  params.width = x.shape[3];
  params.dim = problem.dim;
  params.magnitude = static_cast<float>(problem.magnitude);
  params.interleaved = problem.interleaved;
  if (slots) {
    std::byte* there = gpu.workspace + turns_bytes(problem);
    gpu.upload(there, slots->data(), slots->size() * sizeof(std::int32_t));
    params.slots = reinterpret_cast<const std::int32_t*>(there);
    params.page_size = y.shape[1];
  }
  const std::string kernel = std::string("rope_") + variant + "_" + dtype_name(x.dtype);
  gpu.launch("rope", kernel.c_str(), {static_cast<unsigned>(x.shape[0] * x.shape[1])}, kRopeThreads, 0, params);
}

void run_wide(const Kernel<RopeProblem>&, const RopeProblem& problem, Execution& execution) { launch_rope("wide", problem, nullptr, execution); }
void run_plain(const Kernel<RopeProblem>&, const RopeProblem& problem, Execution& execution) { launch_rope("plain", problem, nullptr, execution); }
void append_wide(const Kernel<RopeAppendProblem>&, const RopeAppendProblem& p, Execution& execution) { launch_rope("wide", p.rope, p.slots, execution); }
void append_plain(const Kernel<RopeAppendProblem>&, const RopeAppendProblem& p, Execution& execution) { launch_rope("plain", p.rope, p.slots, execution); }

}  // namespace

void register_rope_kernels() {
  register_kernel<RopeProblem>(
      {.info = sm80_kernel("rope_wide", "rope", kComputeDTypes, "any"), .reject = reject_wide, .workspace = workspace, .run = run_wide});
  register_kernel<RopeProblem>(
      {.info = sm80_kernel("rope_plain", "rope", kComputeDTypes, "any"), .reject = accept<RopeProblem>, .workspace = workspace, .run = run_plain});
  register_kernel<RopeAppendProblem>({.info = sm80_kernel("rope_append_wide", "ropeAppend", kComputeDTypes, "any"),
                                      .reject = reject_wide_append,
                                      .workspace = append_workspace,
                                      .run = append_wide});
  register_kernel<RopeAppendProblem>({.info = sm80_kernel("rope_append_plain", "ropeAppend", kComputeDTypes, "any"),
                                      .reject = accept<RopeAppendProblem>,
                                      .workspace = append_workspace,
                                      .run = append_plain});
}

}  // namespace attn::cuda
