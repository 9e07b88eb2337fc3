// dst = src, converting. Three kernels:
//   copy_units_<bytes>   equal dtypes: bits move in units of 1 … 16 bytes along any strides; NaN payloads survive
//   copy_convert_*_*     two float types, both dense and 16-byte aligned: a thread moves 8 neighbours by wide accesses
//   copy_plain_any       everything else, one element at a time
// Nothing in shared memory; budget 48 registers. Bound by memory: each byte is read once and written once.

#include <cstdint>

#include "cuda/common/elements.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/common/strided.cuh"
#include "cuda/kernels/copy/params.h"

namespace attn::cuda {
namespace {

template <class Unit>
__device__ void copy_units(const CopyParams& p) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * (kCopyThreads * kCopyItems) + threadIdx.x;
  Unit units[kCopyItems];
  std::int64_t to[kCopyItems];
#pragma unroll
  for (int i = 0; i < kCopyItems; ++i) {
    const std::int64_t index = first + i * kCopyThreads;
    if (index >= p.count) break;
    const StridedOffsets at = strided_offsets(p.axes, index, p.count);
    units[i] = static_cast<const Unit*>(p.src)[at.src];
    to[i] = at.dst;
  }
#pragma unroll
  for (int i = 0; i < kCopyItems; ++i) {
    if (first + i * kCopyThreads < p.count) static_cast<Unit*>(p.dst)[to[i]] = units[i];
  }
}

template <class From, class To>
__device__ void copy_convert(const CopyParams& p) {
  constexpr int kFromItems = 16 / sizeof(From) < kConvertItems ? 16 / sizeof(From) : kConvertItems;
  constexpr int kToItems = 16 / sizeof(To) < kConvertItems ? 16 / sizeof(To) : kConvertItems;
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * kCopyThreads + threadIdx.x) * kConvertItems;
  const From* src = static_cast<const From*>(p.src) + first;
  To* dst = static_cast<To*>(p.dst) + first;
  if (first + kConvertItems > p.count) {
    for (int i = 0; i < p.count - first; ++i) dst[i] = from_float<To>(to_float(src[i]));
    return;
  }
  Pack<From, kFromItems> from[kConvertItems / kFromItems];
  Pack<To, kToItems> to[kConvertItems / kToItems];
#pragma unroll
  for (int i = 0; i < kConvertItems / kFromItems; ++i) from[i] = reinterpret_cast<const Pack<From, kFromItems>*>(src)[i];
#pragma unroll
  for (int i = 0; i < kConvertItems; ++i) to[i / kToItems].items[i % kToItems] = from_float<To>(to_float(from[i / kFromItems].items[i % kFromItems]));
#pragma unroll
  for (int i = 0; i < kConvertItems / kToItems; ++i) reinterpret_cast<Pack<To, kToItems>*>(dst)[i] = to[i];
}

/// An int32 as a float32 whose last bit remembers what was cut off: rounding it again equals rounding the int32 once.
__device__ float round_to_odd(std::int32_t value) {
  const float cut = __int2float_rz(value);
  return __float2int_rz(cut) == value ? cut : __uint_as_float(__float_as_uint(cut) | 1u);
}

__device__ void copy_plain(const CopyParams& p) {
#pragma unroll 1
  for (int i = 0; i < kCopyItems; ++i) {
    const std::int64_t index = (static_cast<std::int64_t>(blockIdx.x) * kCopyItems + i) * kCopyThreads + threadIdx.x;
    if (index >= p.count) return;
    const StridedOffsets at = strided_offsets(p.axes, index, p.count);
    if (p.dst_dtype == DType::kInt32 && p.src_dtype == DType::kInt32) {
      static_cast<std::int32_t*>(p.dst)[at.dst] = static_cast<const std::int32_t*>(p.src)[at.src];
    } else if (p.dst_dtype == DType::kInt32) {
      static_cast<std::int32_t*>(p.dst)[at.dst] = from_float<std::int32_t>(load_element(p.src, p.src_dtype, at.src));
    } else if (p.src_dtype == DType::kInt32) {
      const std::int32_t value = static_cast<const std::int32_t*>(p.src)[at.src];
      store_element(p.dst, p.dst_dtype, at.dst, p.dst_dtype == DType::kFloat32 ? __int2float_rn(value) : round_to_odd(value));
    } else {
      store_element(p.dst, p.dst_dtype, at.dst, load_element(p.src, p.src_dtype, at.src));
    }
  }
}

}  // namespace

#define ATTN_COPY_KERNEL(name, body) \
  extern "C" __global__ void __launch_bounds__(kCopyThreads) name(const __grid_constant__ CopyParams p) { body(p); }
ATTN_COPY_KERNEL(copy_units_16, copy_units<uint4>)
ATTN_COPY_KERNEL(copy_units_8, copy_units<uint2>)
ATTN_COPY_KERNEL(copy_units_4, copy_units<std::uint32_t>)
ATTN_COPY_KERNEL(copy_units_2, copy_units<std::uint16_t>)
ATTN_COPY_KERNEL(copy_units_1, copy_units<std::uint8_t>)
ATTN_COPY_KERNEL(copy_plain_any, copy_plain)
#define ATTN_CONVERT_KERNEL(from, from_type, to, to_type)                                                                       \
  extern "C" __global__ void __launch_bounds__(kCopyThreads) copy_convert_##from##_##to(const __grid_constant__ CopyParams p) { \
    copy_convert<from_type, to_type>(p);                                                                                        \
  }
ATTN_CONVERT_KERNEL(float32, float, float16, __half)
ATTN_CONVERT_KERNEL(float32, float, bfloat16, __nv_bfloat16)
ATTN_CONVERT_KERNEL(float32, float, float8_e4m3, e4m3)
ATTN_CONVERT_KERNEL(float16, __half, float32, float)
ATTN_CONVERT_KERNEL(float16, __half, bfloat16, __nv_bfloat16)
ATTN_CONVERT_KERNEL(float16, __half, float8_e4m3, e4m3)
ATTN_CONVERT_KERNEL(bfloat16, __nv_bfloat16, float32, float)
ATTN_CONVERT_KERNEL(bfloat16, __nv_bfloat16, float16, __half)
ATTN_CONVERT_KERNEL(bfloat16, __nv_bfloat16, float8_e4m3, e4m3)
ATTN_CONVERT_KERNEL(float8_e4m3, e4m3, float32, float)
ATTN_CONVERT_KERNEL(float8_e4m3, e4m3, float16, __half)
ATTN_CONVERT_KERNEL(float8_e4m3, e4m3, bfloat16, __nv_bfloat16)
#undef ATTN_CONVERT_KERNEL
#undef ATTN_COPY_KERNEL

}  // namespace attn::cuda
