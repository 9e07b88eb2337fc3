#include "cpu/kernels/merge_rows.h"

namespace attn::cpu::ATTN_ISA {

extern const MergeTable kMergeTable;

namespace {

template <class T>
ATTN_INLINE Vec weighted_sum(const MergeRow& row, std::int64_t i, std::int64_t lanes) {
  Vec sum{};
  for (std::int64_t s = 0; s < row.count; ++s) {
    const T* values = reinterpret_cast<const T*>(row.rows[s]) + i;
    sum = broadcast(row.weights[s]) * (lanes == kLanes ? load(values) : load_partial(values, lanes)) + sum;
  }
  return sum;
}

void merge(const MergeRow& row) {
  with_dtype(row.dtype, [&](auto* type) {
    using T = ElementOf<decltype(type)>;
    T* out = reinterpret_cast<T*>(row.out);
    std::int64_t i = 0;
    for (; i + kLanes <= row.dim; i += kLanes) store(out + i, weighted_sum<T>(row, i, kLanes));
    if (i < row.dim) store_partial(out + i, weighted_sum<T>(row, i, row.dim - i), row.dim - i);
  });
}

}  // namespace

const MergeTable kMergeTable = {merge};

}  // namespace attn::cpu::ATTN_ISA
