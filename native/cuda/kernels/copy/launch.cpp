#include "core/copy.h"

#include <string>

#include "cuda/common/collapse.h"
#include "cuda/kernels/copy/params.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/kernels/rows.h"
#include "cuda/launch.h"

namespace attn::cuda {
namespace {

std::uintptr_t address(const std::byte* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

void launch_over(Execution& execution, const std::string& kernel, const CopyParams& params, int items) {
  if (params.count == 0) return;
  const std::int64_t blocks = divide_up(params.count, std::int64_t{kCopyThreads} * items);
  static_cast<CudaExecution&>(execution).launch("copy", kernel.c_str(), {static_cast<unsigned>(blocks)}, kCopyThreads, 0, params);
}

CopyParams elementwise(const CopyProblem& problem) {
  CopyParams params{};
  params.src = problem.src.data;
  params.dst = problem.dst.data;
  params.axes = collapse_axes(problem.src, problem.dst);
  params.count = problem.dst.size();
  params.src_dtype = problem.src.dtype;
  params.dst_dtype = problem.dst.dtype;
  return params;
}

bool is_dense(const StridedAxes& axes) { return axes.count == 1 && axes.src_strides[0] == 1 && axes.dst_strides[0] == 1; }

std::optional<std::string> reject_units(const Kernel<CopyProblem>&, const CopyProblem& problem) {
  if (problem.src.dtype != problem.dst.dtype) return "src and dst have different dtypes";
  return std::nullopt;
}

void run_units(const Kernel<CopyProblem>&, const CopyProblem& problem, Execution& execution) {
  CopyParams params = elementwise(problem);
  if (params.count == 0) return;
  const int element = static_cast<int>(dtype_size(problem.dst.dtype));
  // Dense, aligned and not a multiple of 16 bytes long: the end goes by elements.
  const std::int64_t tail = is_dense(params.axes) && is_aligned(params.src, 16) && is_aligned(params.dst, 16) ? params.count % (16 / element) : 0;
  const std::int64_t body = params.count - tail;
  if (tail > 0) {
    CopyParams end = params;
    end.src = problem.src.data + body * element;
    end.dst = problem.dst.data + body * element;
    end.axes.extents[0] = end.count = tail;
    launch_over(execution, "copy_units_" + std::to_string(element), end, kCopyItems);
    params.axes.extents[0] = body;
  }
  if (body == 0) return;
  const int unit = widen_units(params.axes, element, address(problem.src.data), address(problem.dst.data));
  params.count = count_units(params.axes);
  launch_over(execution, "copy_units_" + std::to_string(unit), params, kCopyItems);
}

std::optional<std::string> reject_convert(const Kernel<CopyProblem>&, const CopyProblem& problem) {
  if (problem.src.dtype == DType::kInt32 || problem.dst.dtype == DType::kInt32) return "converts float dtypes only";
  if (problem.src.dtype == problem.dst.dtype) return "src and dst have the same dtype";
  if (!is_dense(collapse_axes(problem.src, problem.dst))) return "src and dst must be contiguous";
  if (!is_aligned(problem.src.data, 16) || !is_aligned(problem.dst.data, 16)) return "src and dst must be aligned to 16 bytes";
  return std::nullopt;
}

void run_convert(const Kernel<CopyProblem>&, const CopyProblem& problem, Execution& execution) {
  const std::string kernel = std::string("copy_convert_") + dtype_name(problem.src.dtype) + "_" + dtype_name(problem.dst.dtype);
  launch_over(execution, kernel, elementwise(problem), kConvertItems);
}

void run_plain(const Kernel<CopyProblem>&, const CopyProblem& problem, Execution& execution) {
  launch_over(execution, "copy_plain_any", elementwise(problem), kCopyItems);
}

}  // namespace

void register_copy_kernels() {
  register_kernel<CopyProblem>({.info = sm80_kernel("copy_units", "copy", kAllDTypes, "-"), .reject = reject_units, .run = run_units});
  register_kernel<CopyProblem>({.info = sm80_kernel("copy_convert", "copy", kFloatDTypes, "-"), .reject = reject_convert, .run = run_convert});
  register_kernel<CopyProblem>({.info = sm80_kernel("copy_plain", "copy", kAllDTypes, "-"), .reject = accept<CopyProblem>, .run = run_plain});
}

}  // namespace attn::cuda
