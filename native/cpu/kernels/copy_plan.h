#pragma once

#include <array>
#include <cstdint>

#include "core/tensor_view.h"
#include "cpu/kernels/row_copier.h"

namespace attn::cpu {

/// A strided copy cut into tasks of about equal size. Axes that lie behind one another in both tensors are one; the
/// innermost is the one on which dst moves least, so that writes are as dense as they can be.
class CopyPlan {
 public:
  CopyPlan(const TensorView& src, const TensorView& dst);

  std::int64_t num_tasks() const { return num_row_tasks_ * num_chunks_; }
  /// The data pointers may be others than those of the views that the plan was made from.
  void run(std::int64_t task, const std::byte* src, std::byte* dst) const;

 private:
  struct Axis {
    std::int64_t extent, src_stride, dst_stride;
  };

  void add_axes(const TensorView& src, const TensorView& dst);
  void cut();

  RowCopier copier_;
  std::int64_t src_bytes_, dst_bytes_;  // of an element
  std::array<Axis, kMaxRank> outer_{};
  int num_outer_ = 0;
  Axis inner_{1, 1, 1};
  std::int64_t rows_ = 1;
  std::int64_t rows_per_task_ = 1, num_row_tasks_ = 1;  // short rows: several a task
  std::int64_t chunk_ = 1, num_chunks_ = 1;             // long rows: several tasks a row
};

}  // namespace attn::cpu
