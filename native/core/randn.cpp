#include "core/randn.h"

#include "core/check.h"
#include "core/enqueue.h"

namespace attn {

void randn(const Tensor& out, std::uint64_t seed) {
  if (!is_float(out.view.dtype)) fail_argument(ErrorCode::kInvalidArgument, "dtype", "a float dtype", dtype_name(out.view.dtype));
  check_writable("out", out.view);
  enqueue_kernel(out.storage->backend(), "randn", RandnProblem{out.view, seed}, {out});
}

}  // namespace attn
