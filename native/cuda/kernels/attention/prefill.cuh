#pragma once
// Prefill on Hopper: warps specialised for copies and for arithmetic (FlashAttention-3, arXiv 2407.08608).

#include "cuda/kernels/attention/prefill_boxes.cuh"
#include "cuda/kernels/attention/prefill_byte_consumer.cuh"
#include "cuda/kernels/attention/prefill_consumer.cuh"
#include "cuda/kernels/attention/prefill_gather.cuh"
#include "cuda/kernels/attention/prefill_transposer.cuh"

namespace attn::cuda {

template <class T, PrefillShape kShape>
__device__ __forceinline__ void attention_prefill(const PrefillParams& params) {
  extern __shared__ __align__(128) char dynamic_shared[];
  using Shared = PrefillShared<kShape>;
  constexpr bool kBytes = kShape.element_bytes == 1;
  using Helper = std::conditional_t<kBytes, PrefillTransposer<kShape>, PrefillCleaner<T, kShape>>;
  using Consumer = std::conditional_t<kBytes, PrefillByteConsumer<kShape>, PrefillConsumer<T, kShape>>;
  const Shared shared(dynamic_shared);
  const int warp = uniform_warp(), lane = threadIdx.x % 32;
  if (threadIdx.x == 0) shared.init_barriers();
  shared.clear_rows_from(params.queries * params.problem.group_size);
  __syncthreads();
  // The launch gives 168 (with three consumers 128) registers to each: what the producer leaves is for the consumers.
  if (warp < 4) {
    warpgroup_give_registers<32>();
    if (warp > 0) {
      Helper{params, shared}.run(warp - 1, lane);
    } else if (params.gathered) {
      PrefillProducer<kShape, PrefillGather<kShape>>{params, shared}.run(lane);
    } else if (elect_one()) {
      PrefillProducer<kShape, PrefillBoxes<kShape>>{params, shared}.run(lane);
    }
  } else {
    warpgroup_take_registers<kShape.consumers == 2 ? 232 : 160>();
    Consumer{params, shared, warp / 4 - 1, warp % 4, lane}.run();
  }
}

}  // namespace attn::cuda
