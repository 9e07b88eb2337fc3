#pragma once
// Words every message from argument, expected and received, so that the text cannot drift from the check.

#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/tensor_view.h"

namespace attn {

/// Throws "<argument>: expected <expected>, received <received>".
[[noreturn]] void fail_argument(ErrorCode code, const std::string& argument, const std::string& expected, const std::string& received);

void check_rank(const char* argument, const TensorView& view, int rank, const char* dims);
void check_dim(const char* argument, const TensorView& view, int axis, std::int64_t expected, const char* dim_name);
void check_dtype(const char* argument, const TensorView& view, DType expected);
void check_compute_dtype(const char* argument, const TensorView& view);
void check_same_dtype(const char* argument, const TensorView& view, const char* other, const TensorView& reference);
void check_same_device(const char* argument, const TensorView& view, const char* other, const TensorView& reference);

/// The memory that a view can touch, as a byte range; used to refuse outputs that overlap inputs.
bool overlaps(const TensorView& a, const TensorView& b);
/// Throws when two elements of `out` share memory, or when `out` overlaps `in`.
void check_writable(const char* argument, const TensorView& out);
void check_no_overlap(const char* argument, const TensorView& out, const char* other, const TensorView& in);

}  // namespace attn
