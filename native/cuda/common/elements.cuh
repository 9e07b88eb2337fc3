#pragma once
// Element types as they lie in memory, and their exact conversions: the same bits as core/convert.h gives on the host.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "core/dtype.h"

namespace attn::cuda {

struct e4m3 {
  std::uint8_t bits;
};

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __uint_as_float(static_cast<std::uint32_t>(__bfloat16_as_ushort(x)) << 16); }
/// OCP float8 e4m3: no infinities, 0x7f and 0xff are NaN.
__device__ __forceinline__ float to_float(e4m3 x) {
  const std::uint32_t sign = (x.bits & 0x80u) << 24, exponent = (x.bits >> 3) & 0xfu, mantissa = x.bits & 7u;
  if (exponent == 15 && mantissa == 7) return __uint_as_float(sign | 0x7fc00000u);
  if (exponent != 0) return __uint_as_float(sign | ((exponent + 120u) << 23) | (mantissa << 20));
  return __uint_as_float(__float_as_uint(static_cast<float>(mantissa) * 0x1p-9f) | sign);
}
__device__ __forceinline__ float to_float(std::int32_t x) { return static_cast<float>(x); }

/// One rounding, to nearest even.
template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  // By hand: cvt would turn every NaN into 0x7fff, the host keeps its sign and payload.
  const std::uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return __ushort_as_bfloat16(static_cast<unsigned short>((bits >> 16) | 0x40u));
  return __ushort_as_bfloat16(static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16));
}
/// Values that would round above 448 become NaN: the type has no infinity.
template <>
__device__ __forceinline__ e4m3 from_float<e4m3>(float x) {
  const std::uint32_t bits = __float_as_uint(x), sign = (bits >> 24) & 0x80u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x43e80000u) return {static_cast<std::uint8_t>(sign | 0x7fu)};
  if (magnitude < 0x3c800000u) {
    const float shifted = __uint_as_float(magnitude) + 0x1p14f;  // one unit in its last place is 2^-9
    return {static_cast<std::uint8_t>(sign | (__float_as_uint(shifted) - 0x46800000u))};
  }
  return {static_cast<std::uint8_t>(sign | ((magnitude + 0x7ffffu + ((magnitude >> 20) & 1u) - 0x3c000000u) >> 20))};
}
/// Beyond ±448 ±448, unlike in a conversion; NaN stays NaN. Without branches: a row of numbers takes all of the ways.
__device__ __forceinline__ e4m3 saturated_e4m3(float x) {
  const std::uint32_t bits = __float_as_uint(x), all = bits & 0x7fffffffu;
  const float bounded = fminf(__uint_as_float(all), 448.0f);  // of a NaN 448
  const std::uint32_t magnitude = __float_as_uint(bounded);
  const std::uint32_t normal = (magnitude + 0x7ffffu + ((magnitude >> 20) & 1u) - 0x3c000000u) >> 20;
  const std::uint32_t small = __float_as_uint(bounded + 0x1p14f) - 0x46800000u;  // one unit in its last place is 2^-9
  const std::uint32_t code = all > 0x7f800000u ? 0x7fu : magnitude < 0x3c800000u ? small : normal;
  return {static_cast<std::uint8_t>(((bits >> 24) & 0x80u) | code)};
}
/// Toward zero, saturating; NaN gives 0.
template <>
__device__ __forceinline__ std::int32_t from_float<std::int32_t>(float x) {
  return __float2int_rz(x);
}

template <DType D>
struct ElementOf;
template <>
struct ElementOf<DType::kFloat32> {
  using type = float;
};
template <>
struct ElementOf<DType::kFloat16> {
  using type = __half;
};
template <>
struct ElementOf<DType::kBFloat16> {
  using type = __nv_bfloat16;
};
template <>
struct ElementOf<DType::kFloat8E4M3> {
  using type = e4m3;
};
template <>
struct ElementOf<DType::kInt32> {
  using type = std::int32_t;
};

/// Element `index` of an array of a run-time float type; the branch is the same for a whole launch.
__device__ __forceinline__ float load_element(const void* data, DType dtype, std::int64_t index) {
  switch (dtype) {
    case DType::kFloat16: return to_float(static_cast<const __half*>(data)[index]);
    case DType::kBFloat16: return to_float(static_cast<const __nv_bfloat16*>(data)[index]);
    case DType::kFloat8E4M3: return to_float(static_cast<const e4m3*>(data)[index]);
    default: return static_cast<const float*>(data)[index];
  }
}

__device__ __forceinline__ void store_element(void* data, DType dtype, std::int64_t index, float value) {
  switch (dtype) {
    case DType::kFloat16: static_cast<__half*>(data)[index] = from_float<__half>(value); break;
    case DType::kBFloat16: static_cast<__nv_bfloat16*>(data)[index] = from_float<__nv_bfloat16>(value); break;
    case DType::kFloat8E4M3: static_cast<e4m3*>(data)[index] = from_float<e4m3>(value); break;
    default: static_cast<float*>(data)[index] = value;
  }
}

}  // namespace attn::cuda
