#pragma once
// Runs of elements from one place to another, converting: the inner loop of copy, append and gather.

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "cpu/kernels/convert_rows.h"

namespace attn::cpu {

class RowCopier {
 public:
  RowCopier(DType from, DType to);
  /// `count` elements; strides in elements.
  void operator()(const std::byte* src, std::int64_t src_stride, std::byte* dst, std::int64_t dst_stride, std::int64_t count) const;

 private:
  using Strided = void (*)(const std::byte* src, std::int64_t src_stride, std::byte* dst, std::int64_t dst_stride, std::int64_t count);
  Strided strided_;
  ConvertTable::Convert dense_ = nullptr;
  std::int64_t same_bytes_ = 0;  // element size where the dtypes are equal: dense runs are plain bytes
};

}  // namespace attn::cpu
