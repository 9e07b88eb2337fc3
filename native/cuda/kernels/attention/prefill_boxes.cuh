#pragma once
// Keys and values by TMA: one thread asks for boxes of rows, a whole step where a sequence's rows lie one after the other, of pages those rows that lie in
// one page.

#include "cuda/common/tma.cuh"
#include "cuda/kernels/attention/prefill_producer.cuh"

namespace attn::cuda {

template <PrefillShape kShape>
struct PrefillBoxes {
  using Shared = PrefillShared<kShape>;
  using Item = PrefillItem<Shared::kKv>;
  static constexpr int kBoxFeatures = prefill_box_features(kShape);

  const PrefillParams& params;
  const Shared& shared;
  int lane;

  __device__ __forceinline__ bool leads() const { return true; }
  __device__ __forceinline__ void await(std::uint32_t barrier, int parity) const { mbarrier_wait(barrier, parity); }
  __device__ __forceinline__ void look_up(const Item&, int) const {}
  __device__ __forceinline__ void finish() const {}

  __device__ __forceinline__ void load_keys(const Item& item, int first, int stage) const {
    const std::uint32_t full = shared.k_full(stage);
    std::uint32_t to = shared.keys(stage);
    mbarrier_arrive_expect_tx(full, Shared::kKeyBytes);
#pragma unroll
    for (int part = 0; part < kPrefillParts<kShape>; ++part) {
      load(item, params.k[part], full, to, params.boxes[part], first, item.kv_head * params.k_heads[part], item.sequence * params.k_sequences[part]);
      to += params.boxes[part] * Shared::kKvBox;
    }
  }

  __device__ __forceinline__ void load_values(const Item& item, int first, int stage) const {
    const std::uint32_t full = shared.v_full(stage);
    mbarrier_arrive_expect_tx(full, Shared::kValueBytes);
    load(item, params.v, full, shared.values(stage), Shared::kVoBoxes, first, item.kv_head * params.v_heads, item.sequence * params.v_sequences);
  }

 private:
  /// Rows from `first` on; of pages, those that hold the item's keys, the last box again where the step goes further.
  __device__ __forceinline__ void load(const Item& item, const CUtensorMap& map, std::uint32_t full, std::uint32_t to, int boxes, int first, int head,
                                       int sequence) const {
    const AttentionProblem& p = params.problem;
    if (p.page_table) {
      for (int r = 0; r < Shared::kKv; r += params.box_rows, to += params.box_rows * Shared::kBoxBytes) {
        const int j = min(first + r, (item.end - 1) / params.box_rows * params.box_rows);
        const int page = item.page_of(p, j), within = static_cast<int>(static_cast<unsigned>(j) % static_cast<unsigned>(p.page_size));
        for (int box = 0; box < boxes; ++box) tma_load(to + box * Shared::kKvBox, map, full, box * kBoxFeatures, within, head, page);
      }
    } else {
      for (int box = 0; box < boxes; ++box) tma_load(to + box * Shared::kKvBox, map, full, box * kBoxFeatures, item.kv_begin + first, head, sequence);
    }
  }
};

}  // namespace attn::cuda
