// y = x / sqrt(mean(x²) + eps) · weight: two passes over a row, the second out of the L1 cache. Sums in float32.

#include "cpu/kernels/rms_norm_rows.h"

namespace attn::cpu::ATTN_ISA {

extern const RmsNormTable kRmsNormTable;

namespace {

constexpr int kSums = 4;  // independent sums hide the latency of the addition

template <class T>
float mean_square(const T* x, std::int64_t width) {
  Vec sums[kSums] = {};
  std::int64_t i = 0;
  for (; i + kSums * kLanes <= width; i += kSums * kLanes) {
#pragma GCC unroll 4
    for (int s = 0; s < kSums; ++s) {
      const Vec v = load(x + i + s * kLanes);
      sums[s] = v * v + sums[s];
    }
  }
  for (; i < width; i += kLanes) {
    const Vec v = width - i >= kLanes ? load(x + i) : load_partial(x + i, width - i);
    sums[0] = v * v + sums[0];
  }
  return reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3])) / static_cast<float>(width);
}

template <class T, class W>
void scale(const T* x, const W* weight, T* y, std::int64_t width, float factor) {
  const Vec factors = broadcast(factor);
  std::int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) store(y + i, load(x + i) * factors * load(weight + i));
  if (i < width) store_partial(y + i, load_partial(x + i, width - i) * factors * load_partial(weight + i, width - i), width - i);
}

void normalize(const RmsNormRow& row) {
  with_dtype(row.dtype, [&](auto* type) {
    using T = ElementOf<decltype(type)>;
    const T* x = reinterpret_cast<const T*>(row.x);
    const float factor = 1 / __builtin_sqrtf(mean_square(x, row.width) + row.eps);
    with_dtype(row.weight_dtype,
               [&](auto* weight_type) { scale(x, reinterpret_cast<decltype(weight_type)>(row.weight), reinterpret_cast<T*>(row.y), row.width, factor); });
  });
}

}  // namespace

const RmsNormTable kRmsNormTable = {normalize};

}  // namespace attn::cpu::ATTN_ISA
