#include "core/paged_kv.h"

#include <algorithm>
#include <string>

#include "cuda/common/collapse.h"
#include "cuda/kernels/paged_kv/params.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/kernels/rows.h"
#include "cuda/launch.h"

namespace attn::cuda {
namespace {

/// The host's list in the workspace.
const std::int32_t* upload_list(CudaExecution& gpu, const std::int32_t* list, std::size_t count) {
  gpu.upload(gpu.workspace, list, count * sizeof(std::int32_t));
  return reinterpret_cast<const std::int32_t*>(gpu.workspace);
}

/// Outer strides of `view` are whole 16-byte units, its last axis is dense, and so is its start aligned.
bool has_wide_rows(const TensorView& view) {
  const std::int64_t items = 16 / dtype_size(view.dtype);
  const int last = view.rank - 1;
  bool fits = is_aligned(view.data, 16) && view.shape[last] % items == 0 && (view.strides[last] == 1 || view.shape[last] <= 1);
  for (int i = 0; i < last; ++i) fits = fits && view.strides[i] % items == 0;
  return fits;
}

std::string kernel_name(const char* stem, int unit) { return std::string(stem) + "_" + std::to_string(unit); }

std::size_t append_workspace(const Kernel<AppendProblem>&, const AppendProblem& problem, int) { return problem.slots->size() * sizeof(std::int32_t); }

void append(const Kernel<AppendProblem>&, const AppendProblem& problem, Execution& execution) {
  const TensorView &src = problem.src, &pages = problem.pages;
  if (src.size() == 0) return;
  auto& gpu = static_cast<CudaExecution&>(execution);
  AppendParams params{};
  const bool equal = src.dtype == pages.dtype;
  const int element = static_cast<int>(dtype_size(pages.dtype));
  const int unit = equal && has_wide_rows(src) && has_wide_rows(pages) ? 16 : element;
  const std::int64_t items = unit / element;
  params.src = src.data;
  params.pages = pages.data;
  params.slots = upload_list(gpu, problem.slots->data(), problem.slots->size());
  for (int i = 0; i < 4; ++i) {
    params.src_strides[i] = i == 3 ? src.strides[i] : src.strides[i] / items;
    params.page_strides[i] = i == 3 ? pages.strides[i] : pages.strides[i] / items;
  }
  params.new_len = src.shape[1];
  params.page_size = pages.shape[1];
  params.heads = src.shape[2];
  params.dim = src.shape[3] / items;
  params.src_dtype = src.dtype;
  params.page_dtype = pages.dtype;
  params.scales = problem.scales;
  params.scales_stride = problem.scales_stride;
  const std::string kernel = equal ? kernel_name("paged_append", unit) : quantises(problem) ? "paged_append_quantise" : "paged_append_convert";
  gpu.launch("paged_kv", kernel.c_str(), {static_cast<unsigned>(src.shape[0] * src.shape[1])}, kPagedThreads, 0, params);
}

std::size_t copy_workspace(const Kernel<PageCopyProblem>&, const PageCopyProblem& problem, int) { return problem.pairs->size() * sizeof(std::int32_t); }

void copy_pages(const Kernel<PageCopyProblem>&, const PageCopyProblem& problem, Execution& execution) {
  const TensorView& pages = problem.pages;
  if (problem.pairs->empty() || pages.size() == 0) return;
  auto& gpu = static_cast<CudaExecution&>(execution);
  PageCopyParams params{};
  const std::int64_t element = dtype_size(pages.dtype);
  params.axes = collapse_axes(pages, pages, 1);
  const std::uintptr_t start = reinterpret_cast<std::uintptr_t>(pages.data) | static_cast<std::uintptr_t>(pages.strides[0] * element);
  StridedAxes wide = params.axes;
  int unit = widen_units(wide, element, start, start);
  if (unit == 16) {
    params.axes = wide;
  } else {
    unit = static_cast<int>(element);
  }
  params.pages = pages.data;
  params.pairs = upload_list(gpu, problem.pairs->data(), problem.pairs->size());
  params.page_stride = pages.strides[0] * element / unit;
  params.page_units = count_units(params.axes);
  const std::int64_t blocks = std::min(kPageCopyBlocks, divide_up(params.page_units, kPagedThreads));
  gpu.launch("paged_kv", kernel_name("page_copy", unit).c_str(), {static_cast<unsigned>(problem.pairs->size() / 2), static_cast<unsigned>(blocks)},
             kPagedThreads, 0, params);
}

std::size_t gather_workspace(const Kernel<GatherProblem>&, const GatherProblem& problem, int) { return problem.page_list->size() * sizeof(std::int32_t); }

void gather(const Kernel<GatherProblem>&, const GatherProblem& problem, Execution& execution) {
  const TensorView &pages = problem.pages, &dst = problem.dst;
  if (dst.size() == 0) return;
  auto& gpu = static_cast<CudaExecution&>(execution);
  const int element = static_cast<int>(dtype_size(pages.dtype));
  const int unit = has_wide_rows(pages) && is_aligned(dst.data, 16) ? 16 : element;
  const std::int64_t items = unit / element;
  GatherParams params{};
  params.pages = pages.data;
  params.dst = dst.data;
  params.page_list = upload_list(gpu, problem.page_list->data(), problem.page_list->size());
  params.page_stride = pages.strides[0] / items;
  params.row_stride = pages.strides[1] / items;
  params.unit_stride = pages.strides[2];
  params.page_size = pages.shape[1];
  params.begin = problem.begin;
  params.width = pages.shape[2] / items;
  gpu.launch("paged_kv", kernel_name("paged_gather", unit).c_str(), {static_cast<unsigned>(dst.shape[0])}, kPagedThreads, 0, params);
}

}  // namespace

void register_paged_kv_kernels() {
  register_kernel<AppendProblem>({.info = sm80_kernel("paged_append_plain", "pagedAppend", kFloatDTypes, "any"),
                                  .reject = accept<AppendProblem>,
                                  .workspace = append_workspace,
                                  .run = append});
  register_kernel<PageCopyProblem>({.info = sm80_kernel("page_copy_plain", "pageCopy", kAllDTypes, "any"),
                                    .reject = accept<PageCopyProblem>,
                                    .workspace = copy_workspace,
                                    .run = copy_pages});
  register_kernel<GatherProblem>({.info = sm80_kernel("paged_gather_plain", "pagedGather", kAllDTypes, "any"),
                                  .reject = accept<GatherProblem>,
                                  .workspace = gather_workspace,
                                  .run = gather});
}

}  // namespace attn::cuda
