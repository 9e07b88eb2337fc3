// Absorbed MLA on Hopper: wgmma over latent rows that TMA brings once, as keys and, read across, as values.

#include "cuda/common/cluster.cuh"
#include "cuda/kernels/attention_split/combine.cuh"
#include "cuda/kernels/mla_decode/latent_consume.cuh"
#include "cuda/kernels/mla_decode/latent_dequantise.cuh"
#include "cuda/kernels/mla_decode/latent_produce.cuh"

namespace attn::cuda {
namespace {

__device__ void init_barriers(LatentShared shared) {
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < LatentTile::stages; ++stage) {
      for (int box = 0; box < LatentTile::boxes; ++box) mbarrier_init(shared.full(stage, box), 1);
      for (int part = 0; part < 3; ++part) mbarrier_init(shared.empty(stage, part), kWarpgroupThreads / 32);
    }
    fence_barrier_init();
  }
  __syncthreads();
}

template <class T, class Producer>
__device__ void decode_latents(const LatentParams& params) {
  extern __shared__ __align__(1024) std::byte shared_memory[];
  const LatentShared shared(shared_memory);
  init_barriers(shared);
  int block = 0;
  if (threadIdx.x < LatentTile::producers) {
    warpgroup_give_registers<LatentTile::producer_registers>();
    Producer producer(params, shared);
    for_each_task(params, [&](const LatentTask& task) { producer.run(LatentWork(params, task), block); });
  } else {
    warpgroup_take_registers<LatentTile::consumer_registers>();
    LatentConsumer<T> consumer(params, shared, shared_memory);
    for_each_task(params, [&](const LatentTask& task) { consumer.run(task, block); });
  }
  start_next_kernel();
}

}  // namespace

#define ATTN_LATENT(name, type, producer)                                                                                                 \
  extern "C" __global__ void __launch_bounds__(LatentTile::threads, 1) mla_decode_##name##_sm90a(const __grid_constant__ LatentParams p) { \
    decode_latents<type, producer>(p);                                                                                                   \
  }
ATTN_LATENT(f16, __half, LatentProducer<__half>)
ATTN_LATENT(bf16, __nv_bfloat16, LatentProducer<__nv_bfloat16>)
ATTN_LATENT(e4m3, __nv_bfloat16, LatentDequantiser)
#undef ATTN_LATENT

ATTN_COMBINE(mla_decode_f16_sm90a_combine, __half, wait_for_previous_kernel())
ATTN_COMBINE(mla_decode_bf16_sm90a_combine, __nv_bfloat16, wait_for_previous_kernel())

}  // namespace attn::cuda
