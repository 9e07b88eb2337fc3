#include "core/paged_kv.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/check.h"

namespace attn {
namespace {

void check_float(const char* argument, const TensorView& view) {
  if (!is_float(view.dtype)) fail_argument(ErrorCode::kInvalidArgument, argument, "a float dtype", dtype_name(view.dtype));
}

void check_range(const std::string& argument, std::int64_t value, std::int64_t min, std::int64_t max) {
  if (value >= min && value <= max) return;
  fail_argument(ErrorCode::kInvalidArgument, argument, "a number from " + std::to_string(min) + " to " + std::to_string(max), std::to_string(value));
}

/// Item i of a list of slots or pages.
void check_item(const char* list, std::int64_t i, std::int64_t value, std::int64_t min, std::int64_t end) {
  if (value < min || value >= end) check_range(std::string(list) + "[" + std::to_string(i) + "]", value, min, end - 1);
}

}  // namespace

bool quantises(const AppendProblem& problem) { return problem.pages.dtype == DType::kFloat8E4M3 && problem.src.dtype != DType::kFloat8E4M3; }

void check_slots(const std::vector<std::int32_t>& slots, std::int64_t rows, std::int64_t capacity) {
  const std::int64_t count = static_cast<std::int64_t>(slots.size());
  if (count != rows) fail_argument(ErrorCode::kShapeMismatch, "slots", std::to_string(rows) + " items (batch · newLen)", std::to_string(count));
  for (std::int64_t i = 0; i < count; ++i) check_item("slots", i, slots[static_cast<std::size_t>(i)], -1, capacity);
}

void check_gathered(const TensorView& pages, const std::vector<std::int32_t>& page_list, std::int64_t begin, std::int64_t end) {
  const std::int64_t page_size = pages.shape[1];
  const std::int64_t capacity = static_cast<std::int64_t>(page_list.size()) * page_size;
  check_range("begin", begin, 0, capacity);
  check_range("end", end, begin, capacity);
  if (end == begin) return;
  for (std::int64_t i = begin / page_size; i <= (end - 1) / page_size; ++i) {
    check_item("pageList", i, page_list[static_cast<std::size_t>(i)], 0, pages.shape[0]);
  }
}

void check_append(const Tensor& src, const Tensor& pages, const std::vector<std::int32_t>& slots, const std::optional<Tensor>& scales) {
  const TensorView &from = src.view, &to = pages.view;
  check_rank("src", from, 4, "[batch, newLen, heads, dim]");
  check_rank("pages", to, 4, "[numPages, pageSize, heads, dim]");
  check_dim("src", from, 2, to.shape[2], "heads");
  check_dim("src", from, 3, to.shape[3], "dim");
  check_float("src", from);
  check_float("pages", to);
  check_same_device("pages", to, "src", from);
  check_writable("pages", to);
  check_no_overlap("pages", to, "src", from);
  check_slots(slots, from.shape[0] * from.shape[1], to.shape[0] * to.shape[1]);
  if (!scales) return;
  if (!quantises({from, to, nullptr})) {
    fail_argument(ErrorCode::kInvalidArgument, "scales", "none unless other dtypes go into pages of float8_e4m3",
                  std::string("some for ") + dtype_name(from.dtype) + " into " + dtype_name(to.dtype));
  }
  check_rank("scales", scales->view, 1, "[heads]");
  check_dim("scales", scales->view, 0, from.shape[2], "heads");
  check_dtype("scales", scales->view, DType::kFloat32);
  check_same_device("scales", scales->view, "src", from);
  check_no_overlap("pages", to, "scales", scales->view);
}

void paged_append(const Tensor& src, const Tensor& pages, HostInts slots, const std::optional<Tensor>& scales) {
  check_append(src, pages, *slots, scales);
  AppendProblem problem{src.view, pages.view, std::move(slots)};
  std::vector<Tensor> keep = {src, pages};
  if (scales) {
    problem.scales = reinterpret_cast<const float*>(scales->view.data);
    problem.scales_stride = scales->view.strides[0];
    keep.push_back(*scales);
  }
  enqueue_kernel(pages.storage->backend(), "pagedAppend", std::move(problem), std::move(keep));
}

void page_copy(const Tensor& pages, HostInts pairs) {
  const TensorView& view = pages.view;
  if (view.rank < 2) fail_argument(ErrorCode::kShapeMismatch, "pages", "shape [numPages, pageSize, ..]", shape_text(view));
  check_writable("pages", view);
  const std::int64_t count = static_cast<std::int64_t>(pairs->size());
  if (count % 2 != 0) fail_argument(ErrorCode::kInvalidArgument, "pairs", "an even number of items", std::to_string(count));
  // Pairs run in any order and side by side: a page that is written may occur once only.
  std::vector<std::uint8_t> uses(static_cast<std::size_t>(view.shape[0]));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t page = (*pairs)[static_cast<std::size_t>(i)];
    check_item("pairs", i, page, 0, view.shape[0]);
    std::uint8_t& use = uses[static_cast<std::size_t>(page)];
    const bool written = i % 2 != 0;
    if (use == 2 || (written && use != 0)) {
      fail_argument(ErrorCode::kInvalidArgument, "pairs[" + std::to_string(i) + "]", "a page that no other pair writes", std::to_string(page));
    }
    use = written ? 2 : 1;
  }
  enqueue_kernel(pages.storage->backend(), "pageCopy", PageCopyProblem{view, std::move(pairs)}, {pages});
}

Tensor paged_gather(const Tensor& pages, HostInts page_list, std::int64_t begin, std::int64_t end) {
  const TensorView& view = pages.view;
  check_rank("pages", view, 3, "[numPages, pageSize, width]");
  check_gathered(view, *page_list, begin, end);
  Backend& backend = pages.storage->backend();
  Tensor dst = empty_tensor(backend, view.dtype, {end - begin, view.shape[2]});
  enqueue_kernel(backend, "pagedGather", GatherProblem{view, dst.view, std::move(page_list), begin}, {pages, dst});
  return dst;
}

}  // namespace attn
