#include "core/linear.h"

#include <utility>
#include <vector>

#include "core/check.h"
#include "core/copy.h"
#include "core/enqueue.h"
#include "core/rows.h"

namespace attn {
namespace {

LinearProblem::Matrix matrix(const TensorView& view, std::int64_t batch_stride, std::int64_t row_stride) {
  return {view.data, view.dtype, batch_stride, row_stride};
}

/// Rows at one stride; copies where the outer axes do not collapse.
Tensor with_one_row_stride(const Tensor& x) {
  if (has_dense_rows(x.view) && row_stride(x.view)) return x;
  Tensor copy = empty_tensor(x.storage->backend(), x.view.dtype, shape_of(x.view));
  copy_tensor(x, copy);
  return copy;
}

void check_vector(const char* argument, const TensorView& view, std::int64_t extent, const char* dim_name, const TensorView& x) {
  check_rank(argument, view, 1, "[outFeatures]");
  check_dim(argument, view, 0, extent, dim_name);
  check_compute_dtype(argument, view);
  check_same_device(argument, view, "x", x);
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, const std::optional<Tensor>& out) {
  const int last = x.view.rank - 1;
  if (last < 0) fail_argument(ErrorCode::kShapeMismatch, "x", "shape [.., inFeatures]", shape_text(x.view));
  check_compute_dtype("x", x.view);
  check_rank("weight", weight.view, 2, "[outFeatures, inFeatures]");
  check_dim("weight", weight.view, 1, x.view.shape[last], "inFeatures");
  check_compute_dtype("weight", weight.view);
  check_same_device("weight", weight.view, "x", x.view);
  const std::int64_t out_features = weight.view.shape[0];
  if (bias) check_vector("bias", bias->view, out_features, "outFeatures", x.view);
  std::vector<std::int64_t> shape = shape_of(x.view);
  shape[last] = out_features;
  if (out) {
    check_out(out->view, contiguous_view(x.view.dtype, x.view.device, nullptr, shape), "x");
    check_no_overlap("out", out->view, "x", x.view);
    check_no_overlap("out", out->view, "weight", weight.view);
    if (bias) check_no_overlap("out", out->view, "bias", bias->view);
  }

  Backend& backend = x.storage->backend();
  const Tensor x_rows = with_one_row_stride(x);
  const Tensor weight_rows = with_dense_rows(weight);
  const OutRows y = out_rows(backend, out, x.view.dtype, shape, true);
  LinearProblem problem;
  problem.rows = count_rows(x.view);
  problem.in_features = x.view.shape[last];
  problem.out_features = out_features;
  problem.x = matrix(x_rows.view, 0, *row_stride(x_rows.view));
  problem.weight = matrix(weight_rows.view, 0, weight_rows.view.strides[0]);
  problem.y = matrix(y.rows.view, 0, *row_stride(y.rows.view));
  std::vector<Tensor> keep = {x_rows, weight_rows, y.rows};
  if (bias) {
    keep.push_back(with_dense_rows(*bias));
    problem.bias = keep.back().view.data;
    problem.bias_dtype = bias->view.dtype;
  }
  enqueue_kernel(backend, "linear", problem, std::move(keep));
  y.finish();
  return y.out;
}

Tensor linear_per_head(const Tensor& x, const Tensor& weight) {
  check_rank("x", x.view, 3, "[rows, heads, inFeatures]");
  check_compute_dtype("x", x.view);
  check_rank("weight", weight.view, 3, "[heads, outFeatures, inFeatures]");
  check_dim("weight", weight.view, 0, x.view.shape[1], "heads");
  check_dim("weight", weight.view, 2, x.view.shape[2], "inFeatures");
  check_compute_dtype("weight", weight.view);
  check_same_device("weight", weight.view, "x", x.view);

  Backend& backend = x.storage->backend();
  const Tensor x_rows = with_dense_rows(x);
  const Tensor weight_rows = with_dense_rows(weight);
  LinearProblem problem;
  problem.rows = x.view.shape[0];
  problem.batch = x.view.shape[1];
  problem.in_features = x.view.shape[2];
  problem.out_features = weight.view.shape[1];
  const Tensor y = empty_tensor(backend, x.view.dtype, {problem.rows, problem.batch, problem.out_features});
  problem.x = matrix(x_rows.view, x_rows.view.strides[1], x_rows.view.strides[0]);
  problem.weight = matrix(weight_rows.view, weight_rows.view.strides[0], weight_rows.view.strides[1]);
  problem.y = matrix(y.view, y.view.strides[1], y.view.strides[0]);
  enqueue_kernel(backend, "linear", problem, {x_rows, weight_rows, y});
  return y;
}

}  // namespace attn
