#pragma once
// Host: how a strided pair of views is walked. Axes go in the order of dst, so that neighbouring threads write neighbouring
// memory; axes that lie one behind the other in both become one.

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/tensor_view.h"
#include "cuda/common/strided.h"

namespace attn::cuda {

/// Over the axes first_axis … rank - 1, in elements; at least one axis.
inline StridedAxes collapse_axes(const TensorView& src, const TensorView& dst, int first_axis = 0) {
  struct Axis {
    std::int64_t extent, src_stride, dst_stride;
  };
  std::array<Axis, kMaxRank> axes{};
  int count = 0;
  for (int i = first_axis; i < dst.rank; ++i) {
    if (dst.shape[i] != 1) axes[count++] = {dst.shape[i], src.strides[i], dst.strides[i]};
  }
  std::stable_sort(axes.begin(), axes.begin() + count, [](const Axis& a, const Axis& b) { return a.dst_stride > b.dst_stride; });
  StridedAxes result{};
  for (int i = 0; i < count; ++i) {
    const int last = result.count - 1;
    const bool joins =
        last >= 0 && result.src_strides[last] == axes[i].src_stride * axes[i].extent && result.dst_strides[last] == axes[i].dst_stride * axes[i].extent;
    const int at = joins ? last : result.count++;
    result.extents[at] = joins ? result.extents[at] * axes[i].extent : axes[i].extent;
    result.src_strides[at] = axes[i].src_stride;
    result.dst_strides[at] = axes[i].dst_stride;
  }
  if (result.count == 0) {
    result.count = 1;
    result.extents[0] = result.src_strides[0] = result.dst_strides[0] = 1;
  }
  return result;
}

/// Bytes of the largest power of two up to 16 that both sides can be moved by; `axes` are then counted in such units.
inline int widen_units(StridedAxes& axes, std::int64_t element_bytes, std::uintptr_t src, std::uintptr_t dst) {
  const int last = axes.count - 1;
  const bool dense = axes.src_strides[last] == 1 && axes.dst_strides[last] == 1;
  const auto fits = [&](std::int64_t unit) {
    std::uintptr_t all = src | dst | static_cast<std::uintptr_t>(axes.extents[last] * element_bytes);
    for (int i = 0; i < last; ++i) all |= static_cast<std::uintptr_t>((axes.src_strides[i] | axes.dst_strides[i]) * element_bytes);
    return all % static_cast<std::uintptr_t>(unit) == 0;
  };
  std::int64_t unit = 16;
  while (unit > element_bytes && !(dense && fits(unit))) unit /= 2;
  const std::int64_t elements = unit / element_bytes;
  if (elements > 1) {
    axes.extents[last] /= elements;
    for (int i = 0; i < last; ++i) {
      axes.src_strides[i] /= elements;
      axes.dst_strides[i] /= elements;
    }
  }
  return static_cast<int>(unit);
}

inline std::int64_t count_units(const StridedAxes& axes) {
  std::int64_t count = 1;
  for (int i = 0; i < axes.count; ++i) count *= axes.extents[i];
  return count;
}

}  // namespace attn::cuda
