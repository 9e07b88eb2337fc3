#pragma once
// The warps beside the producer, of float8_e4m3: wgmma takes 8-bit operands with k innermost only, so values are turned round, from a row of features
// for each key to a row of keys for each feature. Four keys make one word, in the order in which a consumer's thread has its probabilities
// (prefill_pack_bytes): key 8 · (2h + m) + 2 · pair + e of 32 lies at place 16h + 4 · pair + 2m + e.
// NaN is taken out where a step hides keys, as prefill_cleaner.cuh does it.

#include "cuda/common/mma.cuh"
#include "cuda/kernels/attention/prefill_cleaner.cuh"

namespace attn::cuda {

template <PrefillShape kShape>
struct PrefillTransposer {
  using Shared = PrefillShared<kShape>;
  using Item = PrefillItem<Shared::kKv>;
  static_assert(Shared::kKv == kPrefillBoxBytes, "the keys of a step are one row of 128 bytes");

  const PrefillParams& params;
  const Shared& shared;

  /// 32 keys of 16 features at a time. Returns whether any was NaN; `clean`: takes them out.
  __device__ __forceinline__ bool transpose(std::uint32_t values, std::uint32_t transposed, int warp, int lane, bool clean) const {
    const int column = lane / 4, pair = lane % 4;
    bool found = false;
#pragma unroll 1
    for (int n = warp; n < Shared::kKv / 32 * (Shared::kVo / 16); n += kCleaners) {
      const int keys = n % (Shared::kKv / 32), chunk = n / (Shared::kKv / 32), key = keys * 32 + lane;
      std::uint32_t words[4];
      ldmatrix_x4_transposed(words, values + chunk / 8 * Shared::kKvBox + key * kPrefillBoxBytes + ((chunk ^ key) & 7) * 16);
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        std::uint32_t turned[2] = {__byte_perm(words[2 * h], words[2 * h + 1], 0x6420), __byte_perm(words[2 * h], words[2 * h + 1], 0x7531)};
        if (clean) {
#pragma unroll
          for (std::uint32_t& word : turned) {
            const std::uint32_t kept = keep_finite<e4m3>(word);
            found |= kept != word;
            word = kept;
          }
        }
        // Even features first in one half of the warp, odd ones in the other: eight rows then fall on eight different places of the swizzle.
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int odd = i ^ (column >> 2), feature = chunk * 16 + 2 * column + odd;
          const std::uint32_t to = transposed + feature * kPrefillBoxBytes + (((keys * 2 + h) ^ feature) & 7) * 16 + pair * 4;
          asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(odd ? turned[1] : turned[0]) : "memory");
        }
      }
    }
    return __any_sync(kFullWarp, found);
  }

  __device__ __forceinline__ void run(int warp, int lane) const {
    RingPosition<Shared::kStages> stage;
    for_each_item<Shared::kKv>(params, [&](const Item& item, unsigned) {
      for (int step = 0; step < item.steps; ++step, stage.advance()) {
        mbarrier_wait(shared.v_full(stage.index), stage.parity);
        mbarrier_wait(shared.t_empty(stage.index), stage.parity ^ 1);
        const bool hides = item.hides_values(item.origin + step * Shared::kKv);
        const bool found = transpose(shared.values(stage.index), shared.transposed(stage.index), warp, lane, hides);
        if (lane == 0) asm volatile("st.shared.u32 [%0], %1;" ::"r"(shared.flag(stage.index, warp)), "r"(static_cast<int>(found)) : "memory");
        fence_async_shared();
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
