#include "core/paged_kv.h"

#include <algorithm>

#include "core/registry.h"
#include "cpu/kernels/copy_plan.h"
#include "cpu/kernels/quantiser.h"
#include "cpu/kernels/register_ops.h"
#include "cpu/kernels/row_copier.h"
#include "cpu/kernels/row_tasks.h"

namespace attn::cpu {
namespace {

/// Into float8_e4m3: heads have scales of their own.
void append_quantised(const AppendProblem& problem, Execution& execution) {
  const TensorView &src = problem.src, &pages = problem.pages;
  const Quantiser quantise(src.dtype);
  const std::int64_t new_len = src.shape[1], page_size = pages.shape[1], heads = src.shape[2], dim = src.shape[3];
  for_rows(execution, src.shape[0] * new_len, heads * dim, [&](std::int64_t row) {
    const std::int64_t slot = (*problem.slots)[static_cast<std::size_t>(row)];
    if (slot < 0) return;
    const std::int64_t from = row / new_len * src.strides[0] + row % new_len * src.strides[1];
    const std::int64_t to = slot / page_size * pages.strides[0] + slot % page_size * pages.strides[1];
    for (std::int64_t head = 0; head < heads; ++head) {
      const float scale = problem.scales ? problem.scales[head * problem.scales_stride] : 1.0f;
      quantise(src.data + (from + head * src.strides[2]) * dtype_size(src.dtype), src.strides[3], scale, pages.data + to + head * pages.strides[2],
               pages.strides[3], dim);
    }
  });
}

void append(const Kernel<AppendProblem>&, const AppendProblem& problem, Execution& execution) {
  if (quantises(problem)) return append_quantised(problem, execution);
  const TensorView &src = problem.src, &pages = problem.pages;
  const RowCopier copier(src.dtype, pages.dtype);
  const std::int64_t new_len = src.shape[1], page_size = pages.shape[1];
  std::int64_t heads = src.shape[2], dim = src.shape[3];
  if (src.strides[3] == 1 && pages.strides[3] == 1 && (heads == 1 || (src.strides[2] == dim && pages.strides[2] == dim))) {
    dim *= heads;  // all heads of a token lie together
    heads = 1;
  }
  for_rows(execution, src.shape[0] * new_len, src.shape[2] * src.shape[3], [&](std::int64_t row) {
    const std::int64_t slot = (*problem.slots)[static_cast<std::size_t>(row)];
    if (slot < 0) return;
    const std::int64_t from = row / new_len * src.strides[0] + row % new_len * src.strides[1];
    const std::int64_t to = slot / page_size * pages.strides[0] + slot % page_size * pages.strides[1];
    for (std::int64_t head = 0; head < heads; ++head) {
      copier(src.data + (from + head * src.strides[2]) * dtype_size(src.dtype), src.strides[3],
             pages.data + (to + head * pages.strides[2]) * dtype_size(pages.dtype), pages.strides[3], dim);
    }
  });
}

/// Page 0 of a cache as a tensor of its own.
TensorView first_page(const TensorView& pages) {
  TensorView page = pages;
  page.rank = pages.rank - 1;
  std::copy(pages.shape.begin() + 1, pages.shape.begin() + pages.rank, page.shape.begin());
  std::copy(pages.strides.begin() + 1, pages.strides.begin() + pages.rank, page.strides.begin());
  return page;
}

void copy_pages(const Kernel<PageCopyProblem>&, const PageCopyProblem& problem, Execution& execution) {
  const TensorView page = first_page(problem.pages);
  const CopyPlan plan(page, page);
  const std::int64_t page_bytes = problem.pages.strides[0] * dtype_size(problem.pages.dtype);
  const std::vector<std::int32_t>& pairs = *problem.pairs;
  const std::int64_t num_pairs = static_cast<std::int64_t>(pairs.size() / 2);
  execution.parallel_for(num_pairs * plan.num_tasks(), [&](std::int64_t task, int) {
    const auto pair = static_cast<std::size_t>(task / plan.num_tasks());
    plan.run(task % plan.num_tasks(), page.data + pairs[2 * pair] * page_bytes, page.data + pairs[2 * pair + 1] * page_bytes);
  });
}

void gather(const Kernel<GatherProblem>&, const GatherProblem& problem, Execution& execution) {
  const TensorView &pages = problem.pages, &dst = problem.dst;
  const RowCopier copier(pages.dtype, dst.dtype);
  const std::int64_t page_size = pages.shape[1], width = dst.shape[1];
  for_rows(execution, dst.shape[0], width, [&](std::int64_t row) {
    const std::int64_t at = problem.begin + row;
    const std::int64_t page = (*problem.page_list)[static_cast<std::size_t>(at / page_size)];
    const std::int64_t from = page * pages.strides[0] + at % page_size * pages.strides[1];
    copier(pages.data + from * dtype_size(pages.dtype), pages.strides[2], dst.data + row * dst.strides[0] * dtype_size(dst.dtype), dst.strides[1], width);
  });
}

}  // namespace

void register_paged_kv_kernels() {
  register_kernel<AppendProblem>(
      {.info = cpu_kernel("paged_append", "pagedAppend", "any", kFloatDTypes, "any"), .reject = accept<AppendProblem>, .run = append});
  register_kernel<PageCopyProblem>({.info = cpu_kernel("page_copy", "pageCopy", "any", kAllDTypes, "-"), .reject = accept<PageCopyProblem>, .run = copy_pages});
  register_kernel<GatherProblem>({.info = cpu_kernel("paged_gather", "pagedGather", "any", kAllDTypes, "-"), .reject = accept<GatherProblem>, .run = gather});
}

}  // namespace attn::cpu
