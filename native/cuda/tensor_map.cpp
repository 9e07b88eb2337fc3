#include "cuda/tensor_map.h"

#include <algorithm>

#include "cuda/device.h"

namespace attn::cuda {
namespace {

constexpr std::int64_t kUnit = 16;  // bytes that addresses and strides are multiples of
constexpr std::int64_t kMaxStride = std::int64_t{1} << 40;
constexpr std::int64_t kMaxExtent = std::int64_t{1} << 32;

CUtensorMapDataType data_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case DType::kBFloat16: return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case DType::kFloat8E4M3: return CU_TENSOR_MAP_DATA_TYPE_UINT8;
    case DType::kInt32: return CU_TENSOR_MAP_DATA_TYPE_INT32;
    default: return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  }
}

CUtensorMapSwizzle swizzle_of(TensorMapSwizzle swizzle) {
  switch (swizzle) {
    case TensorMapSwizzle::k32: return CU_TENSOR_MAP_SWIZZLE_32B;
    case TensorMapSwizzle::k64: return CU_TENSOR_MAP_SWIZZLE_64B;
    case TensorMapSwizzle::k128: return CU_TENSOR_MAP_SWIZZLE_128B;
    default: return CU_TENSOR_MAP_SWIZZLE_NONE;
  }
}

/// In bytes. One axis has no second element: its stride only has to be one that the driver takes.
std::int64_t stride_bytes(const TensorMapShape& shape, int axis) {
  return shape.axes[axis].extent <= 1 ? kUnit : shape.axes[axis].stride * static_cast<std::int64_t>(dtype_size(shape.dtype));
}

/// What L2 fetches at once: no more than a row, beside which may lie what nobody asked for.
CUtensorMapL2promotion promotion_of(const TensorMapShape& shape) {
  const std::int64_t row_bytes = shape.axes[0].extent * static_cast<std::int64_t>(dtype_size(shape.dtype));
  if (row_bytes % 256 == 0) return CU_TENSOR_MAP_L2_PROMOTION_L2_256B;
  return row_bytes % 128 == 0 ? CU_TENSOR_MAP_L2_PROMOTION_L2_128B : CU_TENSOR_MAP_L2_PROMOTION_NONE;
}

}  // namespace

std::optional<std::string> tensor_map_unfit(const TensorMapShape& shape) {
  if (reinterpret_cast<std::uintptr_t>(shape.data) % kUnit != 0) return "TMA copies from addresses that are multiples of 16";
  if (shape.axes[0].stride != 1 && shape.axes[0].extent > 1) return "TMA copies adjacent features";
  for (int axis = 1; axis < shape.rank; ++axis) {
    const std::int64_t stride = stride_bytes(shape, axis);
    if (stride <= 0 || stride % kUnit != 0) return "TMA copies rows whose distance is a multiple of 16 bytes, received " + std::to_string(stride);
    if (stride >= kMaxStride) return "TMA copies rows less than 2^40 bytes apart, received " + std::to_string(stride);
  }
  for (int axis = 0; axis < shape.rank; ++axis) {
    if (shape.axes[axis].extent > kMaxExtent)
      return "TMA copies of tensors of at most 2^32 elements along an axis, received " + std::to_string(shape.axes[axis].extent);
  }
  return std::nullopt;
}

CUtensorMap encode_tensor_map(const TensorMapShape& shape) {
  cuuint64_t extents[kMaxTensorMapRank] = {}, strides[kMaxTensorMapRank] = {};
  cuuint32_t boxes[kMaxTensorMapRank] = {}, steps[kMaxTensorMapRank] = {};
  for (int axis = 0; axis < shape.rank; ++axis) {
    extents[axis] = static_cast<cuuint64_t>(std::max<std::int64_t>(shape.axes[axis].extent, 1));
    boxes[axis] = static_cast<cuuint32_t>(shape.axes[axis].box);
    steps[axis] = 1;
    if (axis > 0) strides[axis - 1] = static_cast<cuuint64_t>(stride_bytes(shape, axis));
  }
  // A variable of this function: GCC gives the place of a returned value no more alignment than the stack has, and the driver wants 64 bytes.
  struct {
    CUtensorMap map;
  } result;
  check(driver().cuTensorMapEncodeTiled(&result.map, data_type(shape.dtype), static_cast<cuuint32_t>(shape.rank), const_cast<void*>(shape.data), extents,
                                        strides, boxes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle_of(shape.swizzle), promotion_of(shape),
                                        CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "encoding a tensor map");
  return result.map;
}

}  // namespace attn::cuda
