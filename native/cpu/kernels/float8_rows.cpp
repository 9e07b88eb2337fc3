#include "cpu/kernels/float8_rows.h"

#include "core/dtype.h"

namespace attn::cpu::ATTN_ISA {

extern const Float8Table kFloat8Table;

namespace {

/// The elements [i, i + kLanes) of `count`, zeros beyond the last.
template <class T>
ATTN_INLINE Vec load_within(const T* p, std::int64_t i, std::int64_t count) {
  return i + kLanes <= count ? load(p + i) : load_partial(p + i, count - i);
}
template <class T>
ATTN_INLINE void store_within(T* p, Vec v, std::int64_t i, std::int64_t count) {
  if (i + kLanes <= count) return store(p + i, v);
  store_partial(p + i, v, count - i);
}

template <class T>
void quantise(const std::byte* src, float scale, std::byte* dst, std::int64_t count) {
  const T* from = reinterpret_cast<const T*>(src);
  Float8* to = reinterpret_cast<Float8*>(dst);
  for (std::int64_t i = 0; i < count; i += kLanes) store_within(to, load_within(from, i, count) / scale, i, count);
}

template <class T>
void widen(const std::byte* src, float scale, std::byte* dst, std::int64_t count) {
  const Float8* from = reinterpret_cast<const Float8*>(src);
  T* to = reinterpret_cast<T*>(dst);
  for (std::int64_t i = 0; i < count; i += kLanes) store_within(to, load_within(from, i, count) * scale, i, count);
}

template <class T>
float largest(const std::byte* src, std::int64_t count) {
  const T* from = reinterpret_cast<const T*>(src);
  constexpr int kAtOnce = 4;                                                                           // independent maxima hide the latency of a comparison
  const auto larger = [](Vec v, Vec most) { return max_of(vec_of(bits_of(v) & 0x7fffffffu), most); };  // a NaN loses
  Vec most[kAtOnce] = {};
  std::int64_t i = 0;
  for (; i + kAtOnce * kLanes <= count; i += kAtOnce * kLanes) {
#pragma GCC unroll 4
    for (int k = 0; k < kAtOnce; ++k) most[k] = larger(load(from + i + k * kLanes), most[k]);
  }
  for (; i < count; i += kLanes) most[0] = larger(load_within(from, i, count), most[0]);
  return reduce_max(max_of(max_of(most[0], most[1]), max_of(most[2], most[3])));
}

static_assert(static_cast<int>(DType::kFloat32) == 0 && static_cast<int>(DType::kFloat16) == 1 && static_cast<int>(DType::kBFloat16) == 2,
              "the order of the tables below");

}  // namespace

const Float8Table kFloat8Table = {
    {quantise<float>, quantise<Half>, quantise<BFloat>}, {widen<float>, widen<Half>, widen<BFloat>}, {largest<float>, largest<Half>, largest<BFloat>}};

}  // namespace attn::cpu::ATTN_ISA
