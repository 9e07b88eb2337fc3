#pragma once
// Runs of elements of a compute dtype into float8_e4m3, with any strides.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "cpu/kernels/float8_rows.h"
#include "cpu/kernels/row_copier.h"

namespace attn::cpu {

class Quantiser {
 public:
  explicit Quantiser(DType from) : from_(from), gather_(from, DType::kFloat32) {}

  /// dst[i · dst_stride] = src[i · src_stride] / scale, as Float8Table says.
  void operator()(const std::byte* src, std::int64_t src_stride, float scale, std::byte* dst, std::int64_t dst_stride, std::int64_t count) const {
    if (src_stride == 1 && dst_stride == 1) return table_.quantise[static_cast<int>(from_)](src, scale, dst, count);
    constexpr std::int64_t kChunk = 256;
    float values[kChunk];
    std::byte codes[kChunk];
    for (std::int64_t i = 0; i < count; i += kChunk) {
      const std::int64_t n = std::min(kChunk, count - i);
      gather_(src + i * src_stride * dtype_size(from_), src_stride, reinterpret_cast<std::byte*>(values), 1, n);
      table_.quantise[static_cast<int>(DType::kFloat32)](reinterpret_cast<const std::byte*>(values), scale, codes, n);
      for (std::int64_t k = 0; k < n; ++k) dst[(i + k) * dst_stride] = codes[k];
    }
  }

 private:
  DType from_;
  RowCopier gather_;
  const Float8Table& table_ = float8_table();
};

}  // namespace attn::cpu
