#include "cpu/kernels/convert_rows.h"

#include "core/dtype.h"

namespace attn::cpu::ATTN_ISA {

extern const ConvertTable kConvertTable;

namespace {

template <class From, class To>
void convert(const std::byte* src, std::byte* dst, std::int64_t count) {
  const From* from = reinterpret_cast<const From*>(src);
  To* to = reinterpret_cast<To*>(dst);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, load(from + i));
  if (i < count) store_partial(to + i, load_partial(from + i, count - i), count - i);
}

static_assert(static_cast<int>(DType::kFloat32) == 0 && static_cast<int>(DType::kFloat16) == 1 && static_cast<int>(DType::kBFloat16) == 2,
              "the order of the table below");

}  // namespace

const ConvertTable kConvertTable = {{{nullptr, convert<float, Half>, convert<float, BFloat>},
                                     {convert<Half, float>, nullptr, convert<Half, BFloat>},
                                     {convert<BFloat, float>, convert<BFloat, Half>, nullptr}}};

}  // namespace attn::cpu::ATTN_ISA
