#include "core/rms_norm.h"

#include "core/check.h"
#include "core/enqueue.h"
#include "core/rows.h"

namespace attn {

Tensor rms_norm(const Tensor& x, const Tensor& weight, float eps, const std::optional<Tensor>& out) {
  const int last = x.view.rank - 1;
  if (last < 0) fail_argument(ErrorCode::kShapeMismatch, "x", "shape [.., width]", shape_text(x.view));
  check_compute_dtype("x", x.view);
  check_rank("weight", weight.view, 1, "[width]");
  check_dim("weight", weight.view, 0, x.view.shape[last], "width");
  check_compute_dtype("weight", weight.view);
  check_same_device("weight", weight.view, "x", x.view);
  if (out) {
    check_out(out->view, x.view, "x");
    if (!is_same_view(out->view, x.view)) check_no_overlap("out", out->view, "x", x.view);
    check_no_overlap("out", out->view, "weight", weight.view);
  }

  Backend& backend = x.storage->backend();
  const Tensor x_rows = with_dense_rows(x);
  const Tensor weight_row = with_dense_rows(weight);
  const OutRows y = out_rows(backend, out, x.view.dtype, shape_of(x.view), false);
  RmsNormProblem problem;
  problem.x = x_rows.view;
  problem.y = y.rows.view;
  problem.weight = weight_row.view;
  problem.rows = count_rows(x.view);
  problem.width = x.view.shape[last];
  problem.eps = eps;
  enqueue_kernel(backend, "rmsNorm", problem, {x_rows, weight_row, y.rows});
  y.finish();
  return y.out;
}

}  // namespace attn
