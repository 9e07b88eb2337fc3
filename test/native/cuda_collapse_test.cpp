// How CUDA's copies walk a pair of views: axes in the order of dst, joined where they can be, counted in wide units. Each test
// moves bytes as the kernel would and compares with a walk over the plain indices. Host code only.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "check.h"
#include "cuda/common/collapse.h"

namespace attn::test {
namespace {

struct Offsets {
  std::int64_t src, dst;
};

/// Where unit `index` lies, in units: as strided.cuh computes it.
Offsets offsets_of(const cuda::StridedAxes& axes, std::int64_t index) {
  Offsets at = {0, 0};
  for (int i = axes.count - 1; i >= 0; --i) {
    const std::int64_t within = index % axes.extents[i];
    index /= axes.extents[i];
    at.src += within * axes.src_strides[i];
    at.dst += within * axes.dst_strides[i];
  }
  return at;
}

/// A view of random shape whose axes lie in random order with random gaps; strides are multiples of `step` but for the densest axis.
TensorView random_view(std::mt19937& random, const std::vector<std::int64_t>& shape, DType dtype, std::int64_t step) {
  TensorView view;
  view.dtype = dtype;
  view.rank = static_cast<int>(shape.size());
  std::vector<int> order(shape.size());
  std::iota(order.begin(), order.end(), 0);
  if (random() % 2 == 0) std::shuffle(order.begin(), order.end(), random);
  std::int64_t stride = 1;
  for (int i = view.rank - 1; i >= 0; --i) {
    const int axis = order[static_cast<std::size_t>(i)];
    view.shape[axis] = shape[static_cast<std::size_t>(axis)];
    view.strides[axis] = stride;
    stride *= view.shape[axis];
    if (random() % 2 == 0) stride = (stride + step - 1) / step * step + step * static_cast<std::int64_t>(random() % 3);
  }
  return view;
}

std::size_t bytes_behind(const TensorView& view) {
  std::int64_t last = 0;
  for (int i = 0; i < view.rank; ++i) last += (view.shape[i] - 1) * view.strides[i];
  return static_cast<std::size_t>((last + 1) * dtype_size(view.dtype));
}

std::int64_t offset_of(const TensorView& view, std::int64_t index) {
  std::int64_t offset = 0;
  for (int i = view.rank - 1; i >= 0; --i) {
    offset += index % view.shape[i] * view.strides[i];
    index /= view.shape[i];
  }
  return offset;
}

TEST(cuda_copies_by_collapsed_axes_and_wide_units_move_every_element) {
  std::mt19937 random(7);
  int wide = 0, joined = 0;
  for (int round = 0; round < 400; ++round) {
    const DType dtype = std::array{DType::kFloat32, DType::kFloat16, DType::kFloat8E4M3}[random() % 3];
    const std::int64_t bytes = dtype_size(dtype), step = round % 2 == 0 ? 16 / bytes : 1;
    std::vector<std::int64_t> shape(1 + random() % 4);
    for (std::int64_t& extent : shape) extent = 1 + static_cast<std::int64_t>(random() % 5);
    shape.back() *= step;
    const TensorView src = random_view(random, shape, dtype, step), dst = random_view(random, shape, dtype, step);
    std::vector<std::uint8_t> from(bytes_behind(src)), to(bytes_behind(dst), 0), expected(to);
    for (std::uint8_t& byte : from) byte = static_cast<std::uint8_t>(random());
    for (std::int64_t i = 0; i < dst.size(); ++i) {
      std::memcpy(&expected[static_cast<std::size_t>(offset_of(dst, i) * bytes)], &from[static_cast<std::size_t>(offset_of(src, i) * bytes)],
                  static_cast<std::size_t>(bytes));
    }

    cuda::StridedAxes axes = cuda::collapse_axes(src, dst);
    joined += axes.count < dst.rank;
    CHECK_EQUAL(cuda::count_units(axes), dst.size());
    // Addresses as of aligned memory, and, now and then, one element beyond.
    const std::uintptr_t address = round % 5 == 0 ? static_cast<std::uintptr_t>(bytes) : 0;
    const int unit = cuda::widen_units(axes, bytes, address, 0);
    wide += unit == 16;
    CHECK(unit >= bytes && unit <= 16 && (address == 0 || unit == bytes));
    CHECK_EQUAL(cuda::count_units(axes) * unit, dst.size() * bytes);
    for (std::int64_t i = 0; i < cuda::count_units(axes); ++i) {
      const Offsets at = offsets_of(axes, i);
      std::memcpy(&to[static_cast<std::size_t>(at.dst * unit)], &from[static_cast<std::size_t>(at.src * unit)], static_cast<std::size_t>(unit));
    }
    CHECK(to == expected);
  }
  CHECK(wide > 20 && joined > 50);  // the cases are what they are meant to be
}

TEST(cuda_copies_of_contiguous_tensors_walk_one_axis) {
  TensorView view;
  view.rank = 3;
  view.shape = {5, 3, 8};
  view.strides = {24, 8, 1};
  cuda::StridedAxes axes = cuda::collapse_axes(view, view);
  CHECK_EQUAL(axes.count, 1);
  CHECK_EQUAL(axes.extents[0], 120);
  CHECK_EQUAL(cuda::widen_units(axes, 4, 256, 512), 16);
  CHECK_EQUAL(axes.extents[0], 30);
}

TEST(cuda_copies_of_one_element_have_an_axis) {
  TensorView view;
  view.rank = 0;
  cuda::StridedAxes axes = cuda::collapse_axes(view, view);
  CHECK_EQUAL(axes.count, 1);
  CHECK_EQUAL(cuda::count_units(axes), 1);
}

}  // namespace
}  // namespace attn::test
