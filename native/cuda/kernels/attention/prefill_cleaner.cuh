#pragma once
// The warps beside the producer. A product with wgmma adds every key to every row: a value that is infinite or NaN would reach rows that do not
// see it, as 0 · NaN. Where a step hides keys from rows, its values that are not finite become 0 in shared memory before the product, and a flag
// tells the consumers to add them to the rows that see them (prefill_hidden.cuh). Steps that hide nothing are passed on as they came.

#include <type_traits>

#include "cuda/common/elements.cuh"
#include "cuda/common/warp.cuh"
#include "cuda/kernels/attention/prefill_schedule.cuh"
#include "cuda/kernels/attention/prefill_shared.cuh"

namespace attn::cuda {

/// The four bytes of a word, 0 where they are NaN (0x7f or 0xff: float8_e4m3 has no infinity).
__device__ __forceinline__ std::uint32_t keep_numbers(std::uint32_t word) {
  const std::uint32_t nan = ((word & 0x7f7f7f7fu) + 0x01010101u) & 0x80808080u;
  return word & ~(nan | (nan - (nan >> 7)));
}

/// The mask of one 16-bit element's exponent: all ones where it is infinite or NaN.
template <class T>
inline constexpr std::uint32_t kExponent = std::is_same_v<T, __half> ? 0x7c00u : 0x7f80u;

/// The elements of a word, 0 where they are not finite.
template <class T>
__device__ __forceinline__ std::uint32_t keep_finite(std::uint32_t word) {
  if constexpr (sizeof(T) == 1) return keep_numbers(word);
  constexpr std::uint32_t kLow = kExponent<T>, kHigh = kLow << 16;
  if ((word & kLow) == kLow) word &= 0xffff0000u;
  if ((word & kHigh) == kHigh) word &= 0x0000ffffu;
  return word;
}

template <class T, PrefillShape kShape>
struct PrefillCleaner {
  using Shared = PrefillShared<kShape>;
  using Item = PrefillItem<Shared::kKv>;

  const PrefillParams& params;
  const Shared& shared;

  /// Whether there was any such value among this warp's.
  __device__ __forceinline__ bool clean(std::uint32_t values, int cleaner, int lane) const {
    bool found = false;
#pragma unroll 1
    for (int n = cleaner * 32 + lane; n < Shared::kValueBytes / 16; n += kCleaners * 32) {
      const std::uint32_t address = values + n * 16;
      uint4 x;
      asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "r"(address) : "memory");
      const uint4 y = {keep_finite<T>(x.x), keep_finite<T>(x.y), keep_finite<T>(x.z), keep_finite<T>(x.w)};
      if (x.x != y.x || x.y != y.y || x.z != y.z || x.w != y.w) {
        found = true;
        asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(y.x), "r"(y.y), "r"(y.z), "r"(y.w) : "memory");
      }
    }
    return __any_sync(kFullWarp, found);
  }

  __device__ __forceinline__ void run(int cleaner, int lane) const {
    RingPosition<Shared::kStages> stage;
    for_each_item<Shared::kKv>(params, [&](const Item& item, unsigned) {
      for (int step = 0; step < item.steps; ++step, stage.advance()) {
        mbarrier_wait(shared.v_full(stage.index), stage.parity);
        if (item.hides_values(item.origin + step * Shared::kKv)) {
          const bool found = clean(shared.values(stage.index), cleaner, lane);
          if (lane == 0) asm volatile("st.shared.u32 [%0], %1;" ::"r"(shared.flag(stage.index, cleaner)), "r"(static_cast<int>(found)) : "memory");
          fence_async_shared();
        }
        __syncwarp();
        if (lane == 0) {
          mbarrier_arrive(shared.v_clean(stage.index));
          mbarrier_arrive(shared.v_empty(stage.index));
        }
      }
    });
  }
};

}  // namespace attn::cuda
