#pragma once
// Descriptions of tensors in global memory for TMA (common/tma.cuh), encoded by the driver and passed to kernels by value.

#include <cuda.h>

#include <cstdint>
#include <optional>
#include <string>

#include "core/dtype.h"

namespace attn::cuda {

/// An axis of a tensor map: how many elements there are, how far apart, and how many a copy takes.
struct TensorMapAxis {
  std::int64_t extent = 1;
  std::int64_t stride = 0;  // in elements; 1 for the fastest axis
  std::int64_t box = 1;     // at most 256
};

inline constexpr int kMaxTensorMapRank = 5;

/// Shared memory holds a box as it is, or with 16-byte chunks exchanged so that eight rows of this many bytes meet no bank conflict.
enum class TensorMapSwizzle { kNone = 0, k32 = 32, k64 = 64, k128 = 128 };

struct TensorMapShape {
  const void* data = nullptr;
  DType dtype = DType::kFloat32;
  int rank = 0;
  TensorMapAxis axes[kMaxTensorMapRank];  // fastest first
  TensorMapSwizzle swizzle = TensorMapSwizzle::k128;
};

/// Why TMA cannot copy boxes of this tensor, if so: for rows that reject by it.
std::optional<std::string> tensor_map_unfit(const TensorMapShape& shape);

/// Axes of extent 1 may have any stride. Throws Error (kCuda) with the driver's own name of the failure.
CUtensorMap encode_tensor_map(const TensorMapShape& shape);

}  // namespace attn::cuda
