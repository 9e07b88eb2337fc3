#include "cpu/kernels/row_copier.h"

#include <cstring>

#include "core/elements.h"

namespace attn::cpu {
namespace {

template <DType kFrom, DType kTo>
void convert_strided(const std::byte* src, std::int64_t src_stride, std::byte* dst, std::int64_t dst_stride, std::int64_t count) {
  const auto* from = reinterpret_cast<const typename Element<kFrom>::Bits*>(src);
  auto* to = reinterpret_cast<typename Element<kTo>::Bits*>(dst);
  for (std::int64_t i = 0; i < count; ++i) to[i * dst_stride] = convert_element<kFrom, kTo>(from[i * src_stride]);
}

/// Equal dtypes move bits: a float register could quiet a NaN on some targets.
template <class Bits>
void move_strided(const std::byte* src, std::int64_t src_stride, std::byte* dst, std::int64_t dst_stride, std::int64_t count) {
  const auto* from = reinterpret_cast<const Bits*>(src);
  auto* to = reinterpret_cast<Bits*>(dst);
  for (std::int64_t i = 0; i < count; ++i) to[i * dst_stride] = from[i * src_stride];
}

/// Of the strongest instruction set that is usable here.
const ConvertTable& table_in_use() {
#define ATTN_TRY(isa) \
  if (!isa_missing(#isa)) return isa::kConvertTable;
  ATTN_FOR_EACH_ISA(ATTN_TRY)
#undef ATTN_TRY
  return baseline::kConvertTable;  // not reached: every processor has the baseline
}

using Strided = void (*)(const std::byte*, std::int64_t, std::byte*, std::int64_t, std::int64_t);

Strided strided_for(DType from, DType to) {
  if (from == to) {
    switch (dtype_size(from)) {
      case 1: return move_strided<std::uint8_t>;
      case 2: return move_strided<std::uint16_t>;
      default: return move_strided<std::uint32_t>;
    }
  }
  return with_dtype(from, [to](auto source) {
    return with_dtype(to, [](auto target) -> Strided { return convert_strided<decltype(source)::value, decltype(target)::value>; });
  });
}

}  // namespace

RowCopier::RowCopier(DType from, DType to) : strided_(strided_for(from, to)) {
  if (from == to) {
    same_bytes_ = dtype_size(from);
  } else if (is_compute_dtype(from) && is_compute_dtype(to)) {
    dense_ = table_in_use().convert[static_cast<int>(from)][static_cast<int>(to)];
  }
}

void RowCopier::operator()(const std::byte* src, std::int64_t src_stride, std::byte* dst, std::int64_t dst_stride, std::int64_t count) const {
  const bool dense = src_stride == 1 && dst_stride == 1;
  if (dense && same_bytes_ > 0) {
    std::memcpy(dst, src, static_cast<std::size_t>(count * same_bytes_));
  } else if (dense && dense_) {
    dense_(src, dst, count);
  } else {
    strided_(src, src_stride, dst, dst_stride, count);
  }
}

}  // namespace attn::cpu
