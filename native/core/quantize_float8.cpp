#include "core/quantize_float8.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/attention_steps.h"
#include "core/check.h"
#include "core/rows.h"

namespace attn {
namespace {

void check_x(const TensorView& x, bool packed) {
  if (packed) {
    check_rank("x", x, 3, "[total, numHeads, dim]");
  } else if (x.rank != 3 && x.rank != 4) {
    fail_argument(ErrorCode::kShapeMismatch, "x", "shape [batch, len, numHeads, dim] or [total, numHeads, dim]", shape_text(x));
  }
  check_compute_dtype("x", x);
}

void check_given(const char* argument, const TensorView& given, DType dtype, const std::vector<std::int64_t>& shape, const TensorView& x) {
  const TensorView wanted = contiguous_view(dtype, x.device, nullptr, shape);
  if (given.rank != wanted.rank || !std::equal(shape.begin(), shape.end(), given.shape.begin())) {
    fail_argument(ErrorCode::kShapeMismatch, argument, "shape " + shape_text(wanted), shape_text(given));
  }
  check_dtype(argument, given, dtype);
  check_same_device(argument, given, "x", x);
  check_writable(argument, given);
  check_no_overlap(argument, given, "x", x);
}

/// The view with axes of extent 1 in front, up to `rank`.
TensorView with_rank(TensorView view, int rank) {
  for (; view.rank < rank; ++view.rank) {
    std::copy_backward(view.shape.begin(), view.shape.begin() + view.rank, view.shape.begin() + view.rank + 1);
    std::copy_backward(view.strides.begin(), view.strides.begin() + view.rank, view.strides.begin() + view.rank + 1);
    view.shape[0] = 1;
    view.strides[0] = 0;
  }
  return view;
}

}  // namespace

QuantizedTensor quantize_float8(const Tensor& x, std::int64_t group_size, const HostInts& indptr, const std::optional<QuantizedTensor>& out) {
  check_x(x.view, indptr != nullptr);
  const std::int64_t heads = x.view.shape[x.view.rank - 2], rows = x.view.shape[x.view.rank - 3];
  if (group_size < 1 || heads % group_size != 0) {
    fail_argument(ErrorCode::kInvalidArgument, "groupSize", "a divisor of numHeads (" + std::to_string(heads) + ")", std::to_string(group_size));
  }
  QuantizeFloat8Problem problem;
  problem.x = with_rank(x.view, 4);
  problem.indptr = indptr;
  problem.group_size = group_size;
  problem.longest = indptr ? check_indptr("indptr", *indptr, rows, "x") : rows;

  const std::vector<std::int64_t> shape = shape_of(x.view);
  std::vector<std::int64_t> scales_shape = {heads / group_size};
  if (indptr) scales_shape.insert(scales_shape.begin(), static_cast<std::int64_t>(indptr->size()) - 1);
  if (x.view.rank == 4) scales_shape.insert(scales_shape.begin(), x.view.shape[0]);
  if (out) {
    check_given("out.codes", out->codes.view, DType::kFloat8E4M3, shape, x.view);
    check_given("out.scales", out->scales.view, DType::kFloat32, scales_shape, x.view);
    check_no_overlap("out.scales", out->scales.view, "out.codes", out->codes.view);
  }

  Backend& backend = x.storage->backend();
  problem.codes = with_rank(out ? out->codes.view : contiguous_view(DType::kFloat8E4M3, x.view.device, nullptr, shape), 4);
  problem.scales = with_rank(out ? out->scales.view : contiguous_view(DType::kFloat32, x.view.device, nullptr, scales_shape), 2);
  EnqueuedCall<QuantizeFloat8Problem> call(backend, "quantizeFloat8", problem);
  QuantizedTensor result = out ? *out : QuantizedTensor{empty_tensor(backend, DType::kFloat8E4M3, shape), empty_tensor(backend, DType::kFloat32, scales_shape)};
  problem.codes.data = result.codes.view.data;
  problem.scales.data = result.scales.view.data;
  call.enqueue(std::move(problem), {x, result.codes, result.scales});
  return result;
}

}  // namespace attn
