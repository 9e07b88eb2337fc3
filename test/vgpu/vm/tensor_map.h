// What cuTensorMapEncodeTiled writes and copies read. NVIDIA's layout of the 128 bytes is secret; this one is the virtual GPU's own.
#pragma once
#include <cstddef>
#include <cstdint>

namespace vgpu {

constexpr std::uint32_t kTensorMapMagic = 0x7e45014d;

enum class TensorType : std::uint8_t { kU8, kU16, kU32, kS32, kU64, kS64, kF16, kF32, kF64, kBf16, kTf32 };

struct alignas(64) TensorMap {
  std::uint32_t magic;
  TensorType type;
  std::uint8_t rank;
  std::uint8_t element_bytes;
  std::uint8_t swizzle;  // as Swizzle
  std::uint64_t base;
  std::uint64_t strides[4];  // bytes, of dimensions 1 to 4
  std::uint32_t last[5];     // elements - 1
  std::uint16_t box[5];      // elements
  std::uint8_t element_strides[5];
  std::uint8_t unused[41];
  std::uint32_t check;  // of all the words before it
};
static_assert(sizeof(TensorMap) == 128 && offsetof(TensorMap, check) == 124);

inline std::uint32_t checksum(const TensorMap& map) {
  const auto* words = reinterpret_cast<const unsigned char*>(&map);
  std::uint32_t sum = 2166136261u;
  for (int n = 0; n < 124; n++) sum = (sum ^ words[n]) * 16777619u;
  return sum;
}

}  // namespace vgpu
