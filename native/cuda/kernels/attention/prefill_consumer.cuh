#pragma once
// One consumer warpgroup: 64 rows of the tile with all their keys.
//   S = Q Kᵀ;  P = softmax(S);  O = O · factor + P V;  the scores of the next step run on the tensor cores while this step's become probabilities
// (FlashAttention-3, arXiv 2407.08608). Consumers take turns in starting products, so that one computes exponentials while the other multiplies.

#include "cuda/common/wgmma.cuh"
#include "cuda/kernels/attention/prefill_epilogue.cuh"
#include "cuda/kernels/attention/prefill_hidden.cuh"

namespace attn::cuda {

template <class T, PrefillShape kShape>
struct PrefillConsumer {
  using Shared = PrefillShared<kShape>;
  using Item = PrefillItem<Shared::kKv>;
  static constexpr int kConsumers = kShape.consumers, kKv = Shared::kKv, kVo = Shared::kVo;
  static constexpr int kBoxBytes = Shared::kBoxBytes, kBoxSteps = kBoxBytes / 32;  // 16 features are a step
  /// Where step number n of all steps so far stands in the rings of keys and of values.
  struct Ring {
    int index, parity;
    __device__ __forceinline__ explicit Ring(unsigned n) : index(static_cast<int>(n % Shared::kStages)), parity(static_cast<int>(n / Shared::kStages & 1)) {}
  };

  const PrefillParams& params;
  const Shared& shared;
  int consumer, warp, lane;  // warp of the consumer's four

  // Named barriers 1 … kConsumers: the turn of each.
  __device__ __forceinline__ void await_turn() const { named_barrier_sync(1 + consumer, 2 * kWarpgroupThreads); }
  __device__ __forceinline__ void pass_turn() const {
    named_barrier_arrive(1 + (consumer + 1 == kConsumers ? 0 : consumer + 1), 2 * kWarpgroupThreads);
  }

  /// s = Q Kᵀ of a stage, on its way when this returns.
  __device__ __forceinline__ void start_scores(float (&s)[kKv / 2], int stage) const {
    wgmma_fence();
    std::uint32_t rows = shared.q + consumer * kPrefillRows * kBoxBytes;
    asm volatile("" : "+r"(rows));  // descriptors are cheap to make, and too many to keep
    const std::uint64_t a = wgmma_k_major<kBoxBytes>(rows), b = wgmma_k_major<kBoxBytes>(shared.keys(stage));
#pragma unroll
    for (int k = 0; k < Shared::kQk / 16; ++k) {
      const int box = k / kBoxSteps, within = k % kBoxSteps * 32;
      Wgmma<T, kKv>::ss(s, a + ((box * Shared::kQueryBox + within) >> 4), b + ((box * Shared::kKvBox + within) >> 4), k > 0);
    }
    wgmma_commit();
  }

  /// o += P V of a stage, on its way.
  __device__ __forceinline__ void start_values(float (&o)[kVo / 2], std::uint32_t (&p)[kKv / 4], int stage) const {
    wgmma_hold(o);
    wgmma_hold(p);
    wgmma_fence();
    const std::uint64_t b = wgmma_n_major<kBoxBytes>(shared.values(stage), Shared::kKvBox);
#pragma unroll
    for (int k = 0; k < kKv / 16; ++k) Wgmma<T, kVo>::template rs<true>(o, &p[4 * k], b + (k * 16 * kBoxBytes >> 4), true);
    wgmma_commit();
  }

  __device__ __forceinline__ void release(std::uint32_t barrier) const {
    __syncwarp();
    if (lane == 0) mbarrier_arrive(barrier);
  }

  /// Whether the cleaners took anything out of the step's values; before the stage is released.
  __device__ __forceinline__ bool found_hidden(const Item& item, int step, const Ring& v) const {
    return item.hides_values(item.origin + step * kKv) && shared.found_hidden(v.index);
  }

  __device__ __forceinline__ void run() const {
    unsigned before = 0;  // steps of the tiles before
    int q_parity = 0;
    if (consumer == kConsumers - 1) pass_turn();
    for_each_item<kKv>(params, [&](const Item& item, unsigned index) {
      PrefillRows rows{consumer * kPrefillRows + warp * 16 + lane / 4};
      float o[kVo / 2] = {};
      bool hidden = false;  // values that prefill_hidden.cuh is for
      if (item.steps > 0) {
        float s[kKv / 2];
        std::uint32_t p[kKv / 4];
        float factor[2];
        mbarrier_wait(shared.q_full(), q_parity);
        q_parity ^= 1;
        const Ring first(before);
        mbarrier_wait(shared.k_full(first.index), first.parity);
        start_scores(s, first.index);
        wgmma_wait<0>();
        wgmma_hold(s);
        release(shared.k_empty(first.index));
        if (item.steps == 1) release(shared.q_empty());
        prefill_weigh<0>(s, rows, params, item, item.origin, params.problem.softmax_scale, factor, lane);
        prefill_pack<T>(p, s);
#pragma unroll 1
        for (int step = 1; step < item.steps; ++step) {
          const Ring k(before + step), v(before + step - 1);
          mbarrier_wait(shared.k_full(k.index), k.parity);
          await_turn();
          start_scores(s, k.index);
          mbarrier_wait(shared.v_clean(v.index), v.parity);
          start_values(o, p, v.index);
          pass_turn();
          wgmma_wait<1>();
          wgmma_hold(s);
          release(shared.k_empty(k.index));
          if (step + 1 == item.steps) release(shared.q_empty());
          const bool moved = prefill_weigh<0>(s, rows, params, item, item.origin + step * kKv, params.problem.softmax_scale, factor, lane);
          wgmma_wait<0>();
          wgmma_hold(o);
          wgmma_hold(p);
          hidden |= found_hidden(item, step - 1, v);
          release(shared.v_empty(v.index));
          if (moved) {
#pragma unroll
            for (int n = 0; n < kVo / 2; ++n) o[n] *= factor[n / 2 % 2];
          }
          prefill_pack<T>(p, s);
        }
        before += item.steps;
        const Ring last(before - 1);
        mbarrier_wait(shared.v_clean(last.index), last.parity);
        start_values(o, p, last.index);
        wgmma_wait<0>();
        wgmma_hold(o);
        hidden |= found_hidden(item, item.steps - 1, last);
        release(shared.v_empty(last.index));
      }
      // Found once more: what only the stores need would have to stay in registers all along.
      asm volatile("" : "+r"(index));
      Item stored;
      stored.find(params, index);
      if (hidden) prefill_add_hidden<T, kKv>(o, params, stored, rows, lane);
      prefill_store<T>(o, rows, params, stored, 1.0f, 1.0f, lane);
    });
    if (consumer == 0) await_turn();  // the one that nobody took
  }
};

}  // namespace attn::cuda
