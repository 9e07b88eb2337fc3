#pragma once
// What the host sides of kernels share: descriptions of rows and grid arithmetic.

#include <cstdint>
#include <optional>
#include <string>

#include "core/dtype.h"
#include "core/registry.h"
#include "cuda/launch.h"

namespace attn::cuda {

inline constexpr DTypeMask kFloatDTypes = kComputeDTypes | mask_of(DType::kFloat8E4M3);
inline constexpr DTypeMask kAllDTypes = kFloatDTypes | mask_of(DType::kInt32);

/// The description of row "<stem>_sm80".
inline KernelInfo sm80_kernel(const std::string& stem, const char* op, DTypeMask dtypes, const char* head_dims) {
  return {stem + "_sm80", op, DeviceType::kCuda, "sm80", dtypes, head_dims, ""};
}

/// The description of row "<stem>_sm90a".
inline KernelInfo sm90a_kernel(const std::string& stem, const char* op, DTypeMask dtypes, const char* head_dims) {
  return {stem + "_sm90a", op, DeviceType::kCuda, "sm90a", dtypes, head_dims, hopper_missing_everywhere()};
}

/// For rows that do every problem that core lets through.
template <class Problem>
std::optional<std::string> accept(const Kernel<Problem>&, const Problem&) {
  return std::nullopt;
}

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

inline bool is_aligned(const void* pointer, std::uintptr_t bytes) { return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0; }

}  // namespace attn::cuda
