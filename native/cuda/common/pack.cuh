#pragma once
// Several elements at once: one access of 16 bytes, one register of two halves.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace attn::cuda {

/// kCount elements that one aligned access of at most 16 bytes moves.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T items[kCount];
};

/// One access each, also where the compiler would move the items of an assigned struct one by one.
/// Global memory. PTX ISA, "st".
template <class T, int kCount>
__device__ inline Pack<T, kCount> load_pack(const T* from) {
  Pack<T, kCount> pack;
  if constexpr (sizeof(pack) == 16) {
    const uint4 bits = *reinterpret_cast<const uint4*>(from);
    memcpy(&pack, &bits, sizeof(pack));
  } else {
    pack = *reinterpret_cast<const Pack<T, kCount>*>(from);
  }
  return pack;
}
template <class T, int kCount>
__device__ inline void store_pack(T* to, const Pack<T, kCount>& pack) {
  if constexpr (sizeof(pack) == 16) {
    uint4 bits;
    memcpy(&bits, &pack, sizeof(pack));
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(bits.x), "r"(bits.y), "r"(bits.z), "r"(bits.w) : "memory");
  } else {
    *reinterpret_cast<Pack<T, kCount>*>(to) = pack;
  }
}

/// Two floats, each rounded once, as 16-bit elements of one register; `low` at the lower address. The first argument chooses the type.
__device__ inline std::uint32_t pack_pair(__half, float low, float high) {
  std::uint32_t result;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}
__device__ inline std::uint32_t pack_pair(__nv_bfloat16, float low, float high) {
  std::uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}

/// Four floats, each rounded once and held to ±448, as float8_e4m3 bytes of one register; the first at the lowest address.
__device__ inline std::uint32_t pack_bytes(float a, float b, float c, float d) {
  std::uint32_t result;
  asm("{\n"
      ".reg .b16 low, high;\n"
      "cvt.rn.satfinite.e4m3x2.f32 low, %2, %1;\n"
      "cvt.rn.satfinite.e4m3x2.f32 high, %4, %3;\n"
      "mov.b32 %0, {low, high};\n"
      "}"
      : "=r"(result)
      : "f"(a), "f"(b), "f"(c), "f"(d));
  return result;
}

/// What those bytes stand for.
__device__ inline void unpack_bytes(std::uint32_t bytes, float (&numbers)[4]) {
  std::uint32_t halves[2];
  asm("{\n"
      ".reg .b16 low, high;\n"
      "mov.b32 {low, high}, %2;\n"
      "cvt.rn.f16x2.e4m3x2 %0, low;\n"
      "cvt.rn.f16x2.e4m3x2 %1, high;\n"
      "}"
      : "=r"(halves[0]), "=r"(halves[1])
      : "r"(bytes));
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    __half pair[2];
    memcpy(pair, &halves[i], sizeof(pair));
    numbers[2 * i] = __half2float(pair[0]);
    numbers[2 * i + 1] = __half2float(pair[1]);
  }
}

}  // namespace attn::cuda
