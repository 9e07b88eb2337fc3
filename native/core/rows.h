#pragma once
// Ops that work along the last axis read and write rows: these give them views whose rows are dense.

#include <cstdint>
#include <optional>
#include <vector>

#include "core/tensor.h"

namespace attn {

/// The last axis has stride 1.
bool has_dense_rows(const TensorView& view);

/// x itself, or a contiguous copy (enqueued here) where its rows are not dense.
Tensor with_dense_rows(const Tensor& x);

/// The product of all axes but the last.
std::int64_t count_rows(const TensorView& view);

/// The one stride between consecutive rows, in elements; nothing when the outer axes do not collapse into one.
std::optional<std::int64_t> row_stride(const TensorView& view);

/// Element offset of row `row`, counted over the outer axes in order.
std::int64_t row_offset(const TensorView& view, std::int64_t row);

bool is_same_view(const TensorView& a, const TensorView& b);

/// What the caller gets (`out`) and where the kernel writes (`rows`): a dense temporary when out's own rows do not do.
struct OutRows {
  Tensor out, rows;

  /// Call it after the kernel was enqueued: copies the temporary over, if there is one.
  void finish() const;
};

/// Throws unless `out` has this shape, dtype and device, and no element twice.
void check_out(const TensorView& out, const TensorView& wanted, const char* dtype_of);

/// A new tensor of that shape, or the checked `out`. `one_stride`: the kernel needs rows at one stride.
OutRows out_rows(Backend& backend, const std::optional<Tensor>& out, DType dtype, const std::vector<std::int64_t>& shape, bool one_stride);

std::vector<std::int64_t> shape_of(const TensorView& view);

}  // namespace attn
