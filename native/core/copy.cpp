#include "core/copy.h"

#include <algorithm>

#include "core/check.h"
#include "core/enqueue.h"

namespace attn {

void copy_tensor(const Tensor& src, const Tensor& dst, bool fresh) {
  const TensorView &from = src.view, &to = dst.view;
  if (to.rank != from.rank || !std::equal(from.shape.begin(), from.shape.begin() + from.rank, to.shape.begin())) {
    fail_argument(ErrorCode::kShapeMismatch, "dst", "the shape of src " + shape_text(from), shape_text(to));
  }
  check_same_device("dst", to, "src", from);
  check_writable("dst", to);
  check_no_overlap("dst", to, "src", from);
  enqueue_kernel(dst.storage->backend(), "copy", CopyProblem{from, to, fresh}, {src, dst});
}

}  // namespace attn
