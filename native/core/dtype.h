#pragma once

#include <cstdint>
#include <cstring>

namespace attn {

enum class DType : std::uint8_t {
#define ATTN_DTYPE(id, name, bytes, is_float) id,
#include "core/dtype.def"
#undef ATTN_DTYPE
};

inline constexpr int kNumDTypes = 0
#define ATTN_DTYPE(id, name, bytes, is_float) +1
#include "core/dtype.def"
#undef ATTN_DTYPE
    ;

constexpr const char* dtype_name(DType dtype) {
  switch (dtype) {
#define ATTN_DTYPE(id, name, bytes, is_float) \
  case DType::id:                             \
    return name;
#include "core/dtype.def"
#undef ATTN_DTYPE
  }
  return "?";
}

constexpr std::int64_t dtype_size(DType dtype) {
  switch (dtype) {
#define ATTN_DTYPE(id, name, bytes, is_float) \
  case DType::id:                             \
    return bytes;
#include "core/dtype.def"
#undef ATTN_DTYPE
  }
  return 0;
}

constexpr bool is_float(DType dtype) {
  switch (dtype) {
#define ATTN_DTYPE(id, name, bytes, is_float) \
  case DType::id:                             \
    return is_float;
#include "core/dtype.def"
#undef ATTN_DTYPE
  }
  return false;
}

/// The float types that ops compute with; float8_e4m3 is for attention's operands and for caches.
constexpr bool is_compute_dtype(DType dtype) { return dtype == DType::kFloat32 || dtype == DType::kFloat16 || dtype == DType::kBFloat16; }

/// A set of dtypes, for kernel descriptions.
using DTypeMask = std::uint8_t;
constexpr DTypeMask mask_of(DType dtype) { return static_cast<DTypeMask>(1u << static_cast<unsigned>(dtype)); }
inline constexpr DTypeMask kComputeDTypes = mask_of(DType::kFloat32) | mask_of(DType::kFloat16) | mask_of(DType::kBFloat16);

}  // namespace attn
