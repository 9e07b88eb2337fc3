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
  explicit Quantiser(DType from, const Float8Table& table = float8_table()) : from_(from), gather_(from, DType::kFloat32), table_(table) {}

  /// dst[i · dst_stride] = src[i · src_stride] / scale, as Float8Table says.
  void operator()(const std::byte* src, std::int64_t src_stride, float scale, std::byte* dst, std::int64_t dst_stride, std::int64_t count) const {
    if (src_stride == 1 && dst_stride == 1) return table_.quantise[static_cast<int>(from_)](src, scale, dst, count);
    for_chunks(src, src_stride, count, [&](const std::byte* values, std::int64_t i, std::int64_t n) {
      std::byte codes[kChunk];
      table_.quantise[static_cast<int>(DType::kFloat32)](values, scale, codes, n);
      for (std::int64_t k = 0; k < n; ++k) dst[(i + k) * dst_stride] = codes[k];
    });
  }

  /// The largest |src|, NaN left out; 0 of none.
  float largest(const std::byte* src, std::int64_t src_stride, std::int64_t count) const {
    if (src_stride == 1) return table_.largest[static_cast<int>(from_)](src, count);
    float most = 0;
    for_chunks(src, src_stride, count, [&](const std::byte* values, std::int64_t, std::int64_t n) {
      most = std::max(most, table_.largest[static_cast<int>(DType::kFloat32)](values, n));
    });
    return most;
  }

 private:
  static constexpr std::int64_t kChunk = 256;

  /// Calls fn(float32 elements i … i + n - 1, i, n).
  template <class Fn>
  void for_chunks(const std::byte* src, std::int64_t src_stride, std::int64_t count, Fn&& fn) const {
    float values[kChunk];
    for (std::int64_t i = 0; i < count; i += kChunk) {
      const std::int64_t n = std::min(kChunk, count - i);
      gather_(src + i * src_stride * dtype_size(from_), src_stride, reinterpret_cast<std::byte*>(values), 1, n);
      fn(reinterpret_cast<const std::byte*>(values), i, n);
    }
  }

  DType from_;
  RowCopier gather_;
  const Float8Table& table_;
};

}  // namespace attn::cpu
