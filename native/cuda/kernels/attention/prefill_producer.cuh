#pragma once
// What keeps the rings filled: queries of the next tile and keys and values of the next steps, as far as there is room. Queries always come by TMA;
// how keys and values come is the launch's choice: prefill_boxes.cuh or prefill_gather.cuh.

#include "cuda/common/tma.cuh"
#include "cuda/kernels/attention/prefill_schedule.cuh"
#include "cuda/kernels/attention/prefill_shared.cuh"

namespace attn::cuda {

/// Queries and keys in two parts have an instance of their own.
template <PrefillShape kShape>
inline constexpr int kPrefillParts = kShape.head_dim_qk == kPrefillShapes[kPrefillTwoParts].head_dim_qk ? 2 : 1;

/// Copies: PrefillBoxes, run by one thread, or PrefillGather, run by a warp.
template <PrefillShape kShape, class Copies>
struct PrefillProducer {
  using Shared = PrefillShared<kShape>;
  using Item = PrefillItem<Shared::kKv>;
  static constexpr int kBoxFeatures = prefill_box_features(kShape);

  const PrefillParams& params;
  const Shared& shared;

  __device__ __forceinline__ void load_queries(const Item& item) const {
    const AttentionProblem& p = params.problem;
    const int bytes = params.queries * p.group_size * Shared::kBoxBytes;
    mbarrier_arrive_expect_tx(shared.q_full(), Shared::kQkBoxes * bytes);
    std::uint32_t to = shared.q;
#pragma unroll
    for (int part = 0; part < kPrefillParts<kShape>; ++part) {
      for (int box = 0; box < params.boxes[part]; ++box, to += Shared::kQueryBox) {
        tma_load(to, params.q[part], shared.q_full(), box * kBoxFeatures, item.kv_head * p.group_size, item.qo_begin + item.first_query,
                 item.sequence * params.q_sequences[part]);
      }
    }
  }

  __device__ __forceinline__ void run(int lane) const {
    Copies copies{params, shared, lane};
    RingPosition<Shared::kStages> stage;
    int q_parity = 0;
    for_each_item<Shared::kKv>(params, [&](const Item& item, unsigned) {
      if (item.steps == 0) return;
      copies.await(shared.q_empty(), q_parity ^ 1);
      if (copies.leads()) load_queries(item);
      q_parity ^= 1;
      for (int first = item.origin; first < item.end; first += Shared::kKv, stage.advance()) {
        const int parity = stage.parity ^ 1;
        copies.look_up(item, first);
        copies.await(shared.k_empty(stage.index), parity);
        copies.load_keys(item, first, stage.index);
        copies.await(shared.v_empty(stage.index), parity);
        copies.load_values(item, first, stage.index);
      }
    });
    copies.finish();
  }
};

}  // namespace attn::cuda
