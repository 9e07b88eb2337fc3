// (a, b) -> (a · cos - b · sin, b · cos + a · sin) for each pair of features, in float32. Every vector is loaded before
// one that shares memory with it is stored: y may be x.

#include "cpu/kernels/rope_rows.h"

namespace attn::cpu::ATTN_ISA {

extern const RopeTable kRopeTable;

namespace {

template <class T>
void halves(const T* x, T* y, const float* cos, const float* sin, std::int64_t half) {
  std::int64_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const Vec a = load(x + i), b = load(x + half + i), c = load(cos + i), s = load(sin + i);
    store(y + i, a * c - b * s);
    store(y + half + i, b * c + a * s);
  }
  if (i == half) return;
  const std::int64_t rest = half - i;
  const Vec a = load_partial(x + i, rest), b = load_partial(x + half + i, rest), c = load_partial(cos + i, rest), s = load_partial(sin + i, rest);
  store_partial(y + i, a * c - b * s, rest);
  store_partial(y + half + i, b * c + a * s, rest);
}

template <class T>
void interleaved(const T* x, T* y, const float* cos, const float* sin, std::int64_t dim) {
  std::int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    const Vec v = load(x + i);
    store(y + i, v * load(cos + i) + swap_lanes_of<1>(v, LaneSequence{}) * load(sin + i));
  }
  if (i == dim) return;
  const std::int64_t rest = dim - i;
  const Vec v = load_partial(x + i, rest);
  store_partial(y + i, v * load_partial(cos + i, rest) + swap_lanes_of<1>(v, LaneSequence{}) * load_partial(sin + i, rest), rest);
}

void rotate_halves(const RopeRow& row) {
  with_dtype(row.dtype, [&](auto* type) {
    using T = ElementOf<decltype(type)>;
    halves(reinterpret_cast<const T*>(row.x), reinterpret_cast<T*>(row.y), row.cos, row.sin, row.dim / 2);
  });
}

void rotate_interleaved(const RopeRow& row) {
  with_dtype(row.dtype, [&](auto* type) {
    using T = ElementOf<decltype(type)>;
    interleaved(reinterpret_cast<const T*>(row.x), reinterpret_cast<T*>(row.y), row.cos, row.sin, row.dim);
  });
}

}  // namespace

const RopeTable kRopeTable = {rotate_halves, rotate_interleaved};

}  // namespace attn::cpu::ATTN_ISA
