#include "core/rms_norm.h"

#include <string>

#include "cuda/common/collapse.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/kernels/rms_norm/params.h"
#include "cuda/kernels/rows.h"
#include "cuda/launch.h"

namespace attn::cuda {
namespace {

/// The axes of the rows: all but the last.
StridedAxes outer_axes(const RmsNormProblem& problem) {
  TensorView x = problem.x, y = problem.y;
  x.rank = y.rank = x.rank - 1;
  return collapse_axes(x, y);
}

std::optional<std::string> reject_wide(const Kernel<RmsNormProblem>&, const RmsNormProblem& problem) {
  const std::int64_t items = 16 / dtype_size(problem.x.dtype);
  const StridedAxes outer = outer_axes(problem);
  bool fits = problem.width % items == 0 && is_aligned(problem.x.data, 16) && is_aligned(problem.y.data, 16) && is_aligned(problem.weight.data, 16);
  for (int i = 0; i < outer.count; ++i) {
    const bool one_row = outer.extents[i] == 1;
    fits = fits && (one_row || (outer.src_strides[i] % items == 0 && outer.dst_strides[i] % items == 0));
  }
  if (!fits) return "rows and weight must start at, and rows be, multiples of 16 bytes";
  return std::nullopt;
}

void launch_rms_norm(const char* variant, const RmsNormProblem& problem, Execution& execution) {
  if (problem.width == 0 || problem.rows == 0) return;
  RmsNormParams params{};
  params.x = problem.x.data;
  params.y = problem.y.data;
  params.weight = problem.weight.data;
  params.outer = outer_axes(problem);
  params.rows = problem.rows;
  params.width = problem.width;
  params.eps = problem.eps;
  params.weight_dtype = problem.weight.dtype;
  const bool by_warp = problem.width <= kWarpWidth;
  const std::int64_t blocks = by_warp ? divide_up(problem.rows, kRmsNormThreads / 32) : problem.rows;
  const std::string kernel = std::string("rms_norm_") + (by_warp ? "warp_" : "block_") + variant + "_" + dtype_name(problem.x.dtype);
  static_cast<CudaExecution&>(execution).launch("rms_norm", kernel.c_str(), {static_cast<unsigned>(blocks)}, kRmsNormThreads, 0, params);
}

void run_wide(const Kernel<RmsNormProblem>&, const RmsNormProblem& problem, Execution& execution) { launch_rms_norm("wide", problem, execution); }
void run_plain(const Kernel<RmsNormProblem>&, const RmsNormProblem& problem, Execution& execution) { launch_rms_norm("plain", problem, execution); }

}  // namespace

void register_rms_norm_kernels() {
  register_kernel<RmsNormProblem>({.info = sm80_kernel("rms_norm_wide", "rmsNorm", kComputeDTypes, "-"), .reject = reject_wide, .run = run_wide});
  register_kernel<RmsNormProblem>({.info = sm80_kernel("rms_norm_plain", "rmsNorm", kComputeDTypes, "-"), .reject = accept<RmsNormProblem>, .run = run_plain});
}

}  // namespace attn::cuda
