#include "core/check.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace attn {
namespace {

struct ByteRange {
  const std::byte* begin;
  const std::byte* end;
};

ByteRange byte_range(const TensorView& view) {
  if (view.size() == 0) return {view.data, view.data};
  std::int64_t last = 0;
  for (int i = 0; i < view.rank; ++i) last += (view.shape[i] - 1) * view.strides[i];
  return {view.data, view.data + (last + 1) * dtype_size(view.dtype)};
}

}  // namespace

void fail_argument(ErrorCode code, const std::string& argument, const std::string& expected, const std::string& received) {
  Error error(code, argument + ": expected " + expected + ", received " + received);
  error.argument = argument;
  error.expected = expected;
  error.received = received;
  throw error;
}

void check_rank(const char* argument, const TensorView& view, int rank, const char* dims) {
  if (view.rank == rank) return;
  fail_argument(ErrorCode::kShapeMismatch, argument, "shape " + std::string(dims), shape_text(view));
}

void check_dim(const char* argument, const TensorView& view, int axis, std::int64_t expected, const char* dim_name) {
  if (view.shape[axis] == expected) return;
  fail_argument(ErrorCode::kShapeMismatch, argument, std::string(dim_name) + " (axis " + std::to_string(axis) + ") to be " + std::to_string(expected),
                shape_text(view));
}

void check_dtype(const char* argument, const TensorView& view, DType expected) {
  if (view.dtype == expected) return;
  fail_argument(ErrorCode::kInvalidArgument, argument, std::string("dtype ") + dtype_name(expected), dtype_name(view.dtype));
}

void check_compute_dtype(const char* argument, const TensorView& view) {
  if (is_compute_dtype(view.dtype)) return;
  fail_argument(ErrorCode::kInvalidArgument, argument, "dtype float32, float16 or bfloat16", dtype_name(view.dtype));
}

void check_same_dtype(const char* argument, const TensorView& view, const char* other, const TensorView& reference) {
  if (view.dtype == reference.dtype) return;
  fail_argument(ErrorCode::kInvalidArgument, argument, std::string("the dtype of ") + other + " (" + dtype_name(reference.dtype) + ")", dtype_name(view.dtype));
}

void check_same_device(const char* argument, const TensorView& view, const char* other, const TensorView& reference) {
  if (view.device == reference.device) return;
  fail_argument(ErrorCode::kInvalidArgument, argument, std::string("the device of ") + other + " (" + device_id(reference.device) + ")",
                device_id(view.device));
}

bool overlaps(const TensorView& a, const TensorView& b) {
  const ByteRange x = byte_range(a), y = byte_range(b);
  return x.begin < y.end && y.begin < x.end;
}

void check_writable(const char* argument, const TensorView& out) {
  if (out.size() == 0) return;
  // Sorted by stride, each axis must step over all that the smaller ones reach.
  std::vector<std::pair<std::int64_t, std::int64_t>> axes;
  for (int i = 0; i < out.rank; ++i) {
    if (out.shape[i] != 1) axes.emplace_back(out.strides[i], out.shape[i]);
  }
  std::sort(axes.begin(), axes.end());
  std::int64_t reach = 0;
  for (const auto& [stride, extent] : axes) {
    if (stride <= reach) fail_argument(ErrorCode::kInvalidArgument, argument, "a tensor whose elements do not share memory", shape_text(out));
    reach += (extent - 1) * stride;
  }
}

void check_no_overlap(const char* argument, const TensorView& out, const char* other, const TensorView& in) {
  if (!overlaps(out, in)) return;
  fail_argument(ErrorCode::kInvalidArgument, argument, std::string("memory that does not overlap ") + other, "overlapping memory");
}

}  // namespace attn
