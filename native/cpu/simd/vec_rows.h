#pragma once
// Rows of any compute dtype, whole or in part: what kernels use at the end of a row and where features are not adjacent.

#include "core/dtype.h"
#include "cpu/simd/vec.h"

namespace attn::cpu::ATTN_ISA {

/// The first `count` elements at p, `stride` elements apart, then zeros. Reads nothing else.
template <class T>
ATTN_INLINE Vec load_partial(const T* p, std::int64_t count, std::int64_t stride = 1) {
  T buffer[kLanes] = {};
  const int n = static_cast<int>(count < kLanes ? count : kLanes);
  for (int i = 0; i < n; ++i) buffer[i] = p[i * stride];
  return load(buffer);
}

/// Writes the first `count` lanes, `stride` elements apart, and nothing else.
template <class T>
ATTN_INLINE void store_partial(T* p, Vec v, std::int64_t count, std::int64_t stride = 1) {
  T buffer[kLanes];
  store(buffer, v);
  const int n = static_cast<int>(count < kLanes ? count : kLanes);
  for (int i = 0; i < n; ++i) p[i * stride] = buffer[i];
}

template <class Pointer>
struct Pointee;
template <class T>
struct Pointee<const T*> {
  using Type = T;
};
template <class Pointer>
using ElementOf = typename Pointee<Pointer>::Type;

/// Calls fn with a null pointer to the element type of a compute dtype.
template <class Fn>
ATTN_INLINE void with_dtype(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::kFloat16: return fn(static_cast<const Half*>(nullptr));
    case DType::kBFloat16: return fn(static_cast<const BFloat*>(nullptr));
    default: return fn(static_cast<const float*>(nullptr));
  }
}

}  // namespace attn::cpu::ATTN_ISA
