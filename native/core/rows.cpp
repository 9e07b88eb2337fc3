#include "core/rows.h"

#include <algorithm>
#include <string>

#include "core/backend.h"
#include "core/check.h"
#include "core/copy.h"

namespace attn {

bool has_dense_rows(const TensorView& view) {
  const int last = view.rank - 1;
  return view.shape[last] <= 1 || view.strides[last] == 1;
}

Tensor with_dense_rows(const Tensor& x) {
  if (has_dense_rows(x.view)) return x;
  Tensor copy = empty_tensor(x.storage->backend(), x.view.dtype, shape_of(x.view));
  copy_tensor(x, copy);
  return copy;
}

std::int64_t count_rows(const TensorView& view) {
  std::int64_t rows = 1;
  for (int i = 0; i + 1 < view.rank; ++i) rows *= view.shape[i];
  return rows;
}

std::optional<std::int64_t> row_stride(const TensorView& view) {
  if (view.size() == 0) return view.shape[view.rank - 1];
  std::int64_t stride = view.shape[view.rank - 1];  // where there is one row only
  std::int64_t rows = 1;
  for (int i = view.rank - 2; i >= 0; --i) {
    if (view.shape[i] == 1) continue;
    if (rows == 1) {
      stride = view.strides[i];
    } else if (view.strides[i] != stride * rows) {
      return std::nullopt;
    }
    rows *= view.shape[i];
  }
  return stride;
}

std::int64_t row_offset(const TensorView& view, std::int64_t row) {
  std::int64_t offset = 0;
  for (int i = view.rank - 2; i >= 0 && row > 0; --i) {
    offset += row % view.shape[i] * view.strides[i];
    row /= view.shape[i];
  }
  return offset;
}

bool is_same_view(const TensorView& a, const TensorView& b) {
  return a.data == b.data && a.dtype == b.dtype && a.rank == b.rank && std::equal(a.shape.begin(), a.shape.begin() + a.rank, b.shape.begin()) &&
         std::equal(a.strides.begin(), a.strides.begin() + a.rank, b.strides.begin());
}

void OutRows::finish() const {
  if (rows.storage != out.storage) copy_tensor(rows, out);
}

void check_out(const TensorView& out, const TensorView& wanted, const char* dtype_of) {
  if (out.rank != wanted.rank || !std::equal(wanted.shape.begin(), wanted.shape.begin() + wanted.rank, out.shape.begin())) {
    fail_argument(ErrorCode::kShapeMismatch, "out", "shape " + shape_text(wanted), shape_text(out));
  }
  check_same_dtype("out", out, dtype_of, wanted);
  check_same_device("out", out, dtype_of, wanted);
  check_writable("out", out);
}

OutRows out_rows(Backend& backend, const std::optional<Tensor>& out, DType dtype, const std::vector<std::int64_t>& shape, bool one_stride) {
  if (out && has_dense_rows(out->view) && (!one_stride || row_stride(out->view))) return {*out, *out};
  const Tensor fresh = empty_tensor(backend, dtype, shape);
  return {out ? *out : fresh, fresh};
}

std::vector<std::int64_t> shape_of(const TensorView& view) { return {view.shape.begin(), view.shape.begin() + view.rank}; }

}  // namespace attn
