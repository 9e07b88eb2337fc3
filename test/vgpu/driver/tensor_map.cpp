// cuTensorMapEncodeTiled, with the conditions of its documentation (CUDA driver API, "Tensor Map Object Management").
#include "../vm/tensor_map.h"

#include <cstring>

#include "state.h"

using namespace vgpu::driver;

namespace {

struct Element {
  CUtensorMapDataType type;
  vgpu::TensorType as;
  unsigned bytes;
};
constexpr Element kElements[] = {
    {CU_TENSOR_MAP_DATA_TYPE_UINT8, vgpu::TensorType::kU8, 1},       {CU_TENSOR_MAP_DATA_TYPE_UINT16, vgpu::TensorType::kU16, 2},
    {CU_TENSOR_MAP_DATA_TYPE_UINT32, vgpu::TensorType::kU32, 4},     {CU_TENSOR_MAP_DATA_TYPE_INT32, vgpu::TensorType::kS32, 4},
    {CU_TENSOR_MAP_DATA_TYPE_UINT64, vgpu::TensorType::kU64, 8},     {CU_TENSOR_MAP_DATA_TYPE_INT64, vgpu::TensorType::kS64, 8},
    {CU_TENSOR_MAP_DATA_TYPE_FLOAT16, vgpu::TensorType::kF16, 2},    {CU_TENSOR_MAP_DATA_TYPE_FLOAT32, vgpu::TensorType::kF32, 4},
    {CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, vgpu::TensorType::kBf16, 2},
};

const Element* element_of(CUtensorMapDataType type) {
  for (const Element& element : kElements) {
    if (element.type == type) return &element;
  }
  return nullptr;
}

}  // namespace

VGPU_EXPORT cuTensorMapEncodeTiled(CUtensorMap* out, CUtensorMapDataType type, cuuint32_t rank, void* base, const cuuint64_t* dims, const cuuint64_t* strides,
                                   const cuuint32_t* box, const cuuint32_t* element_strides, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                   CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
  const Element* element = element_of(type);
  const auto address = reinterpret_cast<std::uint64_t>(base);
  const bool pointers = out != nullptr && dims != nullptr && box != nullptr && element_strides != nullptr && (rank < 2 || strides != nullptr);
  if (!pointers || reinterpret_cast<std::uint64_t>(out) % 64 != 0 || element == nullptr || rank < 1 || rank > 5 || address == 0 || address % 16 != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  // What the package has no use for: other interleaves, fill with NaN and swizzles of newer devices are refused.
  if (interleave != CU_TENSOR_MAP_INTERLEAVE_NONE || fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE || swizzle < CU_TENSOR_MAP_SWIZZLE_NONE ||
      swizzle > CU_TENSOR_MAP_SWIZZLE_128B || promotion < CU_TENSOR_MAP_L2_PROMOTION_NONE || promotion > CU_TENSOR_MAP_L2_PROMOTION_L2_256B) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  vgpu::TensorMap map{};
  map.magic = vgpu::kTensorMapMagic;
  map.type = element->as;
  map.rank = static_cast<std::uint8_t>(rank);
  map.element_bytes = static_cast<std::uint8_t>(element->bytes);
  map.swizzle = static_cast<std::uint8_t>(swizzle);
  map.base = address;
  for (unsigned d = 0; d < rank; d++) {
    if (dims[d] == 0 || dims[d] > std::uint64_t{1} << 32 || box[d] == 0 || box[d] > 256 || element_strides[d] == 0 || element_strides[d] > 8) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    map.last[d] = static_cast<std::uint32_t>(dims[d] - 1);
    map.box[d] = static_cast<std::uint16_t>(box[d]);
    map.element_strides[d] = static_cast<std::uint8_t>(element_strides[d]);
    if (d + 1 == rank) break;
    if (strides[d] % 16 != 0 || strides[d] == 0 || strides[d] >= std::uint64_t{1} << 40) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    map.strides[d] = strides[d];
  }
  const unsigned inner = box[0] * element->bytes;
  const unsigned span = 16u << map.swizzle;  // of the swizzle: 32, 64 or 128 bytes
  if (inner % 16 != 0 || (swizzle != CU_TENSOR_MAP_SWIZZLE_NONE && inner > span)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  map.check = vgpu::checksum(map);
  std::memcpy(out, &map, sizeof map);
  return CUDA_SUCCESS;
}
