#pragma once
// Values that only some of a tile's rows may see (causal, the newest tokens). Their probability is 0 in the other rows, and 0 · NaN is NaN: a
// value row that holds something that is not finite is added element by element to the rows that see it, and then zeroed for the product.

#include "cuda/common/base2.cuh"
#include "cuda/common/fence.cuh"
#include "cuda/common/warpgroup.cuh"
#include "cuda/kernels/mla_decode/latent_work.cuh"

namespace attn::cuda {

__device__ __forceinline__ std::uint32_t load_word(std::uint32_t shared) {
  std::uint32_t x;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(x) : "r"(shared) : "memory");
  return x;
}
__device__ __forceinline__ uint4 load_chunk(std::uint32_t shared) {
  uint4 x;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "r"(shared) : "memory");
  return x;
}
__device__ __forceinline__ void store_chunk(std::uint32_t shared, uint4 x) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(shared), "r"(x.x), "r"(x.y), "r"(x.z), "r"(x.w) : "memory");
}

/// The float of the lower (0) or upper (1) element of a register.
template <class T>
__device__ __forceinline__ float element_of(std::uint32_t pair, int which) {
  const auto bits = static_cast<unsigned short>(which ? pair >> 16 : pair);
  T x;
  memcpy(&x, &bits, sizeof(x));
  return to_float(x);
}

/// One consumer warpgroup's half of the values of a stage. Keys and ends count from the block's first key.
template <class T>
struct HiddenValues {
  LatentShared shared;
  int stage, half, warp, lane;

  /// All four warps, after the probabilities are in shared memory; those of [from, to) that are not finite.
  __device__ void add(float (&out)[LatentTile::rank / 4], int from, int to, int end0, int end1) const {
    std::uint64_t found = 0;
    for (int key = from; key < to; ++key) {
      if (is_finite(key)) continue;
      add_key(out, key, end0, end1);
      found |= std::uint64_t{1} << key;
    }
    if (found == 0) return;
    named_barrier_sync(kWarpgroupBarrier + half, kWarpgroupThreads);  // everyone has read
    for (int key = from; key < to; ++key) {
      if (warp == 0 && (found >> key & 1)) store_chunk(own_chunk(key), uint4{});
    }
    fence_async_shared();
    named_barrier_sync(kWarpgroupBarrier + half, kWarpgroupThreads);
  }

 private:
  /// A warp reads a row's half at once: 16 bytes a lane.
  __device__ std::uint32_t own_chunk(int key) const {
    return shared.latents(stage, half * LatentTile::half_boxes + lane / 8) + box_offset(key, lane % 8);
  }

  /// The same in all four warps.
  __device__ bool is_finite(int key) const {
    constexpr std::uint32_t kLow = kExponentBits<T>, kHigh = kLow << 16;
    const uint4 x = load_chunk(own_chunk(key));
    const auto bad = [](std::uint32_t pair) { return (pair & kLow) == kLow || (pair & kHigh) == kHigh; };
    return !__any_sync(~0u, bad(x.x) || bad(x.y) || bad(x.z) || bad(x.w));
  }

  __device__ void add_key(float (&out)[LatentTile::rank / 4], int key, int end0, int end1) const {
    const auto probability = [&](int h) {
      const int row = 16 * warp + lane / 4 + 8 * h;
      return element_of<T>(load_word(shared.probabilities() + box_offset(row, key / 8) + key % 8 / 2 * 4), key % 2);
    };
    const float p0 = probability(0), p1 = probability(1);
#pragma unroll
    for (int n = 0; n < LatentTile::rank / 16; ++n) {
      const std::uint32_t pair = load_word(shared.latents(stage, half * LatentTile::half_boxes + n / 8) + box_offset(key, n % 8) + lane % 4 * 4);
      const float x = element_of<T>(pair, 0), y = element_of<T>(pair, 1);
      if (key < end0) {
        out[4 * n] += p0 * x;
        out[4 * n + 1] += p0 * y;
      }
      if (key < end1) {
        out[4 * n + 2] += p1 * x;
        out[4 * n + 3] += p1 * y;
      }
    }
  }
};

}  // namespace attn::cuda
