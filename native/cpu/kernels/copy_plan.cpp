#include "cpu/kernels/copy_plan.h"

#include <algorithm>

namespace attn::cpu {
namespace {

constexpr std::int64_t kTaskElements = 1 << 16;  // 128 … 256 KiB: long against handing out a task, short against a thread's share
// Transposed: a task reads this many elements of a row, then of the next row. Their cache lines of src, often a power of
// two apart, must survive in the few ways of the L1 cache until all rows that they serve have been written.
constexpr std::int64_t kTransposedChunk = 16;

}  // namespace

CopyPlan::CopyPlan(const TensorView& src, const TensorView& dst)
    : copier_(src.dtype, dst.dtype), src_bytes_(dtype_size(src.dtype)), dst_bytes_(dtype_size(dst.dtype)) {
  if (dst.size() == 0) {
    num_row_tasks_ = 0;
    return;
  }
  add_axes(src, dst);
  cut();
}

void CopyPlan::add_axes(const TensorView& src, const TensorView& dst) {
  std::array<Axis, kMaxRank> axes{};
  int count = 0;
  for (int i = 0; i < dst.rank; ++i) {
    if (dst.shape[i] != 1) axes[count++] = {dst.shape[i], src.strides[i], dst.strides[i]};
  }
  std::stable_sort(axes.begin(), axes.begin() + count, [](const Axis& a, const Axis& b) { return a.dst_stride > b.dst_stride; });
  for (int i = 0; i < count; ++i) {
    Axis* last = num_outer_ > 0 ? &outer_[num_outer_ - 1] : nullptr;
    if (last && last->src_stride == axes[i].src_stride * axes[i].extent && last->dst_stride == axes[i].dst_stride * axes[i].extent) {
      *last = {last->extent * axes[i].extent, axes[i].src_stride, axes[i].dst_stride};
    } else {
      outer_[num_outer_++] = axes[i];
    }
  }
  if (num_outer_ > 0) inner_ = outer_[--num_outer_];
}

void CopyPlan::cut() {
  Axis* densest = std::min_element(outer_.begin(), outer_.begin() + num_outer_, [](const Axis& a, const Axis& b) { return a.src_stride < b.src_stride; });
  const bool transposed = num_outer_ > 0 && densest->src_stride > 0 && densest->src_stride < inner_.src_stride;
  if (transposed) std::rotate(densest, densest + 1, outer_.begin() + num_outer_);  // consecutive rows share cache lines of src
  for (int i = 0; i < num_outer_; ++i) rows_ *= outer_[i].extent;
  chunk_ = std::min(inner_.extent, transposed ? kTransposedChunk : kTaskElements);
  num_chunks_ = (inner_.extent + chunk_ - 1) / chunk_;
  rows_per_task_ = std::max<std::int64_t>(1, kTaskElements / chunk_);
  num_row_tasks_ = (rows_ + rows_per_task_ - 1) / rows_per_task_;
}

void CopyPlan::run(std::int64_t task, const std::byte* src, std::byte* dst) const {
  const std::int64_t begin = task % num_chunks_ * chunk_;
  const std::int64_t count = std::min(chunk_, inner_.extent - begin);
  const std::int64_t first_row = task / num_chunks_ * rows_per_task_;
  const std::int64_t last_row = std::min(first_row + rows_per_task_, rows_);
  for (std::int64_t row = first_row; row < last_row; ++row) {
    std::int64_t from = begin * inner_.src_stride, to = begin * inner_.dst_stride, rest = row;
    for (int i = num_outer_ - 1; i >= 0; --i) {
      const std::int64_t index = rest % outer_[i].extent;
      rest /= outer_[i].extent;
      from += index * outer_[i].src_stride;
      to += index * outer_[i].dst_stride;
    }
    copier_(src + from * src_bytes_, inner_.src_stride, dst + to * dst_bytes_, inner_.dst_stride, count);
  }
}

}  // namespace attn::cpu
