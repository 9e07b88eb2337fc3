// cuTensorMapEncodeTiled, with the conditions of its documentation (CUDA driver API, "Tensor Map Object Management").
#include "../vm/tensor_map.h"

#include <cstdio>
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
    {CU_TENSOR_MAP_DATA_TYPE_UINT8, vgpu::TensorType::kU8, 1},      {CU_TENSOR_MAP_DATA_TYPE_UINT16, vgpu::TensorType::kU16, 2},
    {CU_TENSOR_MAP_DATA_TYPE_UINT32, vgpu::TensorType::kU32, 4},    {CU_TENSOR_MAP_DATA_TYPE_INT32, vgpu::TensorType::kS32, 4},
    {CU_TENSOR_MAP_DATA_TYPE_UINT64, vgpu::TensorType::kU64, 8},    {CU_TENSOR_MAP_DATA_TYPE_INT64, vgpu::TensorType::kS64, 8},
    {CU_TENSOR_MAP_DATA_TYPE_FLOAT16, vgpu::TensorType::kF16, 2},   {CU_TENSOR_MAP_DATA_TYPE_FLOAT32, vgpu::TensorType::kF32, 4},
    {CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, vgpu::TensorType::kBf16, 2},
};

const Element* element_of(CUtensorMapDataType type) {
  for (const Element& element : kElements) {
    if (element.type == type) return &element;
  }
  return nullptr;
}

/// Refused, and why: a driver says no more than the error, a tool may.
CUresult refuse(const std::string& why) {
  std::fprintf(stderr, "vgpu: cuTensorMapEncodeTiled: %s\n", why.c_str());
  return CUDA_ERROR_INVALID_VALUE;
}

std::string dimension(const char* what, unsigned d, std::uint64_t value) {
  return std::string(what) + " " + std::to_string(d) + " is " + std::to_string(value);
}

}  // namespace

VGPU_EXPORT cuTensorMapEncodeTiled(CUtensorMap* out, CUtensorMapDataType type, cuuint32_t rank, void* base, const cuuint64_t* dims, const cuuint64_t* strides,
                                   const cuuint32_t* box, const cuuint32_t* element_strides, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                   CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
  const Element* element = element_of(type);
  const auto address = reinterpret_cast<std::uint64_t>(base);
  if (rank < 1 || rank > 5) return refuse("the rank is " + std::to_string(rank) + ", it may be 1 to 5");
  if (out == nullptr || dims == nullptr || box == nullptr || element_strides == nullptr || (rank > 1 && strides == nullptr)) return refuse("a pointer is null");
  if (reinterpret_cast<std::uint64_t>(out) % 64 != 0) return refuse("the map is not 64-byte aligned");
  if (address == 0 || address % 16 != 0) return refuse("the base address must be a multiple of 16, and not null");
  // What the package has no use for: other types and interleaves, fill with NaN, swizzles of newer devices.
  if (element == nullptr) return refuse("the type " + std::to_string(type) + " is not known");
  if (interleave != CU_TENSOR_MAP_INTERLEAVE_NONE) return refuse("interleaving is not known");
  if (fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) return refuse("fill with NaN is not known");
  if (swizzle < CU_TENSOR_MAP_SWIZZLE_NONE || swizzle > CU_TENSOR_MAP_SWIZZLE_128B) return refuse("the swizzle " + std::to_string(swizzle) + " is not known");
  if (promotion < CU_TENSOR_MAP_L2_PROMOTION_NONE || promotion > CU_TENSOR_MAP_L2_PROMOTION_L2_256B) return refuse("the promotion is not known");
  vgpu::TensorMap map{};
  map.magic = vgpu::kTensorMapMagic;
  map.type = element->as;
  map.rank = static_cast<std::uint8_t>(rank);
  map.element_bytes = static_cast<std::uint8_t>(element->bytes);
  map.swizzle = static_cast<std::uint8_t>(swizzle);
  map.base = address;
  for (unsigned d = 0; d < rank; d++) {
    if (dims[d] == 0 || dims[d] > std::uint64_t{1} << 32) return refuse(dimension("dimension", d, dims[d]) + ", it may be 1 to 2^32");
    if (box[d] == 0 || box[d] > 256) return refuse(dimension("the box along dimension", d, box[d]) + ", it may be 1 to 256");
    if (element_strides[d] == 0 || element_strides[d] > 8)
      return refuse(dimension("the element stride of dimension", d, element_strides[d]) + ", it may be 1 to 8");
    map.last[d] = static_cast<std::uint32_t>(dims[d] - 1);
    map.box[d] = static_cast<std::uint16_t>(box[d]);
    map.element_strides[d] = static_cast<std::uint8_t>(element_strides[d]);
    if (d + 1 == rank) break;
    if (strides[d] % 16 != 0 || strides[d] == 0 || strides[d] >= std::uint64_t{1} << 40)
      return refuse(dimension("the stride of dimension", d + 1, strides[d]) + " bytes, it must be a multiple of 16 below 2^40");
    map.strides[d] = strides[d];
  }
  const unsigned inner = box[0] * element->bytes;
  const unsigned span = 16u << map.swizzle;  // of the swizzle: 32, 64 or 128 bytes
  if (inner % 16 != 0) return refuse("a row of the box has " + std::to_string(inner) + " bytes, it must be a multiple of 16");
  if (swizzle != CU_TENSOR_MAP_SWIZZLE_NONE && inner > span)
    return refuse("a row of the box has " + std::to_string(inner) + " bytes, the swizzle spans " + std::to_string(span));
  map.check = vgpu::checksum(map);
  std::memcpy(out, &map, sizeof map);
  return CUDA_SUCCESS;
}
