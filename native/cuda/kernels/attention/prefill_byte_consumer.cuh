#pragma once
// One consumer warpgroup of float8_e4m3: 64 rows of the tile with all their keys.
//   S = Q Kᵀ;  P = 2^8 softmax(S);  O = O · factor + P V
// Probabilities times 2^8 use e4m3's range: 448 is the most it holds, and what is below 2^-9 is 0. One e4m3 number has 4 bits; two of them, the
// second what the first leaves, have the 8 of bfloat16, which results are held to. Tensor cores keep about 14 bits of 8-bit products' sums, so P V
// of one step is summed there and the steps in float32 registers. Consumers take turns in multiplying queries and keys.

#include "cuda/common/wgmma.cuh"
#include "cuda/kernels/attention/prefill_epilogue.cuh"
#include "cuda/kernels/attention/prefill_hidden.cuh"

namespace attn::cuda {

inline constexpr int kPrefillByteOffset = 8;  // of the exponents of probabilities

__device__ __forceinline__ float head_scale(const HeadScales& scales, int sequence, int head) {
  return scales.data ? scales.data[sequence * scales.sequence_stride + head * scales.head_stride] : 1.0f;
}

/// Probabilities of 32 keys as four registers of the A operand and four of what is left, bytes in the order of prefill_transposer.cuh.
template <int kCount>
__device__ __forceinline__ void prefill_pack_bytes(std::uint32_t (&p)[kCount / 4], std::uint32_t (&rest)[kCount / 4], const float (&s)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount / 4; ++i) {
    const int block = i / 4, h = i % 4 / 2, half = i % 2, first = 16 * block + 8 * h + 2 * half;
    p[i] = pack_bytes(s[first], s[first + 1], s[first + 4], s[first + 5]);
    float packed[4];
    unpack_bytes(p[i], packed);
    rest[i] = pack_bytes(s[first] - packed[0], s[first + 1] - packed[1], s[first + 4] - packed[2], s[first + 5] - packed[3]);
  }
}

template <PrefillShape kShape>
struct PrefillByteConsumer {
  using T = e4m3;
  using Shared = PrefillShared<kShape>;
  using Item = PrefillItem<Shared::kKv>;
  static constexpr int kConsumers = kShape.consumers, kKv = Shared::kKv, kVo = Shared::kVo;
  /// Features of one product with the values, as registers allow: 128 of them find their sums where the scores were, 256 leave room for 32 sums beside
  /// their own 128 and both parts of the probabilities.
  static constexpr int kPart = kVo == 128 ? 128 : 64;

  const PrefillParams& params;
  const Shared& shared;
  int consumer, warp, lane;  // warp of the consumer's four

  __device__ __forceinline__ void start_scores(float (&s)[kKv / 2], int stage) const {
    wgmma_fence();
    const std::uint64_t a = wgmma_k_major(shared.q + consumer * kPrefillRows * kPrefillBoxBytes), b = wgmma_k_major(shared.keys(stage));
#pragma unroll
    for (int k = 0; k < Shared::kQk / 32; ++k) {
      Wgmma<T, kKv>::ss(s, a + ((k / 4 * Shared::kQueryBox + k % 4 * 32) >> 4), b + ((k / 4 * Shared::kKvBox + k % 4 * 32) >> 4), k > 0);
    }
    wgmma_commit();
  }

  /// o = o · factor + P V of a stage, for the features of one part; `t` is for the product alone.
  __device__ __forceinline__ void add_part(float (&o)[kVo / 2], std::uint32_t (&p)[kKv / 8], std::uint32_t (&rest)[kKv / 8], float (&t)[kPart / 2], int part, int stage,
                                           const float (&factor)[2]) const {
    wgmma_hold(t);
    wgmma_hold(p);
    wgmma_hold(rest);
    wgmma_fence();
    const std::uint64_t b = wgmma_k_major(shared.transposed(stage) + part * kPart * kPrefillBoxBytes);
#pragma unroll
    for (int k = 0; k < kKv / 32; ++k) {
      Wgmma<T, kPart>::rs(t, &p[4 * k], b + (k * 32 >> 4), k > 0);
      Wgmma<T, kPart>::rs(t, &rest[4 * k], b + (k * 32 >> 4), true);
    }
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(t);
    wgmma_hold(p);
    wgmma_hold(rest);
#pragma unroll
    for (int n = 0; n < kPart / 2; ++n) o[part * kPart / 2 + n] = fmaf(o[part * kPart / 2 + n], factor[n / 2 % 2], t[n]);
  }

  /// The scores' registers are free once they are probabilities.
  __device__ __forceinline__ void add_values(float (&o)[kVo / 2], std::uint32_t (&p)[kKv / 8], std::uint32_t (&rest)[kKv / 8], float (&s)[kKv / 2], int stage, const float (&factor)[2]) const {
    if constexpr (kPart == kKv) {
      add_part(o, p, rest, s, 0, stage, factor);
    } else {
      float t[kPart / 2] = {};  // of all parts: with one for each ptxas would spill
#pragma unroll
      for (int part = 0; part < kVo / kPart; ++part) add_part(o, p, rest, t, part, stage, factor);
    }
  }

  __device__ __forceinline__ void release(std::uint32_t barrier) const {
    __syncwarp();
    if (lane == 0) mbarrier_arrive(barrier);
  }

  __device__ __forceinline__ void run() const {
    RingPosition<Shared::kStages> stage;
    int q_parity = 0;
    const auto await_turn = [&] { named_barrier_sync(1 + consumer, 2 * kWarpgroupThreads); };
    const auto pass_turn = [&] { named_barrier_arrive(1 + (consumer + 1 == kConsumers ? 0 : consumer + 1), 2 * kWarpgroupThreads); };
    if (consumer == kConsumers - 1) pass_turn();
    for_each_item<kKv>(params, [&](const Item& item, unsigned index) {
      const AttentionProblem& problem = params.problem;
      PrefillRows rows{consumer * kPrefillRows + warp * 16 + lane / 4};
      float o[kVo / 2] = {};
      bool hidden = false;  // values that prefill_hidden.cuh is for
      if (item.steps > 0) {
        const float scale = problem.softmax_scale * head_scale(problem.q_scales, item.sequence, item.kv_head) *
                            head_scale(problem.k_scales, item.sequence, item.kv_head);
        mbarrier_wait(shared.q_full(), q_parity);
        q_parity ^= 1;
#pragma unroll 1
        for (int step = 0; step < item.steps; ++step, stage.advance()) {
          const int first = item.origin + step * kKv;
          float s[kKv / 2], factor[2];
          mbarrier_wait(shared.k_full(stage.index), stage.parity);
          await_turn();
          start_scores(s, stage.index);
          wgmma_wait<0>();
          wgmma_hold(s);
          pass_turn();
          release(shared.k_empty(stage.index));
          if (step + 1 == item.steps) release(shared.q_empty());
          prefill_weigh<kPrefillByteOffset>(s, rows, params, item, first, scale, factor, lane);
          std::uint32_t p[kKv / 8], rest[kKv / 8];
          prefill_pack_bytes(p, rest, s);
          mbarrier_wait(shared.v_clean(stage.index), stage.parity);
          add_values(o, p, rest, s, stage.index, factor);
          hidden |= item.hides_values(first) && shared.found_hidden(stage.index);
          release(shared.t_empty(stage.index));
        }
      }
      // Found once more: what only the stores need would have to stay in registers all along.
      asm volatile("" : "+r"(index));
      Item stored;
      stored.find(params, index);
      if (hidden) prefill_add_hidden<T, kKv>(o, params, stored, rows, lane);
      prefill_store<T>(o, rows, params, stored, 1 << kPrefillByteOffset, head_scale(problem.v_scales, stored.sequence, stored.kv_head), lane);
    });
    if (consumer == 0) await_turn();  // the one that nobody took
  }
};

}  // namespace attn::cuda
