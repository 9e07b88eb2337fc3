// mergeStates: the registry row.

#include <algorithm>
#include <vector>

#include "core/merge.h"
#include "core/registry.h"
#include "cuda/kernels/merge/params.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/launch.h"

namespace attn::cuda {
namespace {

constexpr unsigned kBlockRows = 4;  // a warp each

MergeState state_of(const MergeProblem::State& state) {
  MergeState result{state.out.data, {}, reinterpret_cast<float*>(state.lse.data), {}};
  std::copy_n(state.out.strides.begin(), 3, result.out_strides);
  std::copy_n(state.lse.strides.begin(), 3, result.lse_strides);
  return result;
}

void run(const Kernel<MergeProblem>&, const MergeProblem& problem, Execution& execution) {
  auto& gpu = static_cast<CudaExecution&>(execution);
  const std::int64_t rows = problem.batch * problem.len * problem.heads;
  if (rows == 0) return;
  std::vector<MergeState> states;
  for (const MergeProblem::State& state : problem.states) states.push_back(state_of(state));
  gpu.upload(gpu.workspace, states.data(), states.size() * sizeof(MergeState));
  const MergeParams params{reinterpret_cast<const MergeState*>(gpu.workspace),
                           static_cast<std::int64_t>(states.size()),
                           state_of(problem.result),
                           rows,
                           problem.len,
                           problem.heads,
                           problem.dim,
                           problem.result.out.dtype};
  gpu.launch("merge", "merge_plain", {static_cast<unsigned>((rows + kBlockRows - 1) / kBlockRows)}, 32 * kBlockRows, 0, params);
}

}  // namespace

void register_merge_kernels() {
  Kernel<MergeProblem> kernel;
  kernel.info = {"merge_plain_sm80", "mergeStates", DeviceType::kCuda, "sm80", kComputeDTypes, "any", ""};
  kernel.reject = [](const Kernel<MergeProblem>&, const MergeProblem&) -> std::optional<std::string> { return std::nullopt; };
  kernel.workspace = [](const Kernel<MergeProblem>&, const MergeProblem& problem, int) { return problem.states.size() * sizeof(MergeState); };
  kernel.run = run;
  register_kernel(std::move(kernel));
}

}  // namespace attn::cuda
