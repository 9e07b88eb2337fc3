#pragma once
// The thread that keeps TMA busy: queries of the next tile and keys and values of the next steps, as far as the rings have room.

#include "cuda/common/tma.cuh"
#include "cuda/kernels/attention/prefill_schedule.cuh"
#include "cuda/kernels/attention/prefill_shared.cuh"

namespace attn::cuda {

template <PrefillShape kShape>
struct PrefillProducer {
  using Shared = PrefillShared<kShape>;
  using Item = PrefillItem<Shared::kKv>;
  static constexpr bool kTwoParts = kShape.head_dim_qk == kPrefillShapes[kPrefillTwoParts].head_dim_qk;
  static constexpr int kBoxFeatures = prefill_box_features(kShape);

  const PrefillParams& params;
  const Shared& shared;

  __device__ __forceinline__ void load_queries(const Item& item) const {
    const AttentionProblem& p = params.problem;
    const int bytes = params.queries * p.group_size * Shared::kBoxBytes;
    mbarrier_arrive_expect_tx(shared.q_full(), Shared::kQkBoxes * bytes);
    std::uint32_t to = shared.q;
#pragma unroll
    for (int part = 0; part < (kTwoParts ? 2 : 1); ++part) {
      for (int box = 0; box < params.boxes[part]; ++box, to += Shared::kQueryBox) {
        tma_load(to, params.q[part], shared.q_full(), box * kBoxFeatures, item.kv_head * p.group_size, item.qo_begin + item.first_query,
                 item.sequence * params.q_sequences[part]);
      }
    }
  }

  /// Keys (or values) from `first` on; of pages, those that hold the item's keys, the last one again where the step goes further.
  __device__ __forceinline__ void load_rows(const Item& item, const CUtensorMap& map, std::uint32_t barrier, std::uint32_t to, int boxes, int first, int head,
                                            int sequence) const {
    const AttentionProblem& p = params.problem;
    if (p.page_table) {
      for (int r = 0; r < Shared::kKv; r += params.box_rows, to += params.box_rows * Shared::kBoxBytes) {
        const int j = min(first + r, (item.end - 1) / params.box_rows * params.box_rows);
        const int page = item.page_of(p, j), within = static_cast<int>(static_cast<unsigned>(j) % static_cast<unsigned>(p.page_size));
        for (int box = 0; box < boxes; ++box) tma_load(to + box * Shared::kKvBox, map, barrier, box * kBoxFeatures, within, head, page);
      }
    } else {
      for (int box = 0; box < boxes; ++box) tma_load(to + box * Shared::kKvBox, map, barrier, box * kBoxFeatures, item.kv_begin + first, head, sequence);
    }
  }

  __device__ __forceinline__ void run() const {
    RingPosition<Shared::kStages> stage;
    int q_parity = 0;
    for_each_item<Shared::kKv>(params, [&](const Item& item, unsigned) {
      if (item.steps == 0) return;
      mbarrier_wait(shared.q_empty(), q_parity ^ 1);
      load_queries(item);
      q_parity ^= 1;
      for (int step = 0; step < item.steps; ++step, stage.advance()) {
        const int first = item.origin + step * Shared::kKv, parity = stage.parity ^ 1;
        mbarrier_wait(shared.k_empty(stage.index), parity);
        const std::uint32_t k_full = shared.k_full(stage.index), keys = shared.keys(stage.index);
        mbarrier_arrive_expect_tx(k_full, Shared::kQkBoxes * Shared::kKvBox);
        load_rows(item, params.k[0], k_full, keys, params.boxes[0], first, item.kv_head * params.k_heads[0], item.sequence * params.k_sequences[0]);
        if constexpr (kTwoParts) {
          load_rows(item, params.k[1], k_full, keys + params.boxes[0] * Shared::kKvBox, params.boxes[1], first, item.kv_head * params.k_heads[1],
                    item.sequence * params.k_sequences[1]);
        }
        mbarrier_wait(shared.v_empty(stage.index), parity);
        const std::uint32_t v_full = shared.v_full(stage.index);
        mbarrier_arrive_expect_tx(v_full, Shared::kValueBytes);
        load_rows(item, params.v, v_full, shared.values(stage.index), Shared::kVoBoxes, first, item.kv_head * params.v_heads, item.sequence * params.v_sequences);
      }
    });
  }
};

}  // namespace attn::cuda
