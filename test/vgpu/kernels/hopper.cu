// Small kernels with the asynchronous mechanisms of compute capability 9.0, each correct. asynchronous.test.ts breaks them one edit at a time.
#include <cuda.h>
#include <cuda_bf16.h>

#include <cstdint>

namespace {

__device__ uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

__device__ void init(uint64_t* barrier, unsigned count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}
__device__ void arrive(uint64_t* barrier) { asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory"); }
__device__ void expect(uint64_t* barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}
__device__ void wait(uint64_t* barrier, unsigned parity) {
  unsigned done = 0;
  while (!done) {
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(done)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
  }
}
__device__ void load(void* to, const CUtensorMap* map, int x, int y, uint64_t* barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(shared_address(to)), "l"(map),
               "r"(x), "r"(y), "r"(shared_address(barrier))
               : "memory");
}
__device__ float swizzled(const __nv_bfloat16* tile, int row, int column) {  // rows of 128 bytes, swizzled over 8 of them
  return __bfloat162float(tile[row * 64 + (((column / 8) ^ (row % 8)) * 8 | column % 8)]);
}

constexpr int kTiles = 6, kStages = 2, kRows = 32, kTileBytes = kRows * 128;

}  // namespace

// out[column] = sum of the rows of in [192, 64] bf16: warp 2 copies tiles of 32 rows through a ring of 2 stages, warps 0 and 1 add their half of the columns.
extern "C" __global__ void __launch_bounds__(96) ring(const __grid_constant__ CUtensorMap map, float* out) {
  extern __shared__ __align__(1024) unsigned char tiles[];
  __shared__ uint64_t full[kStages], empty[kStages];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; s++) {
      init(&full[s], 1);
      init(&empty[s], 2);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  if (warp == 2) {
    if (lane == 0) {
#pragma unroll 1
      for (int t = 0; t < kTiles; t++) {
        const int stage = t % kStages;
        wait(&empty[stage], (t / kStages & 1) ^ 1);
        expect(&full[stage], kTileBytes);
        load(tiles + stage * kTileBytes, &map, 0, t * kRows, &full[stage]);
      }
    }
  } else {
    float sum = 0;
#pragma unroll 1
    for (int t = 0; t < kTiles; t++) {
      const int stage = t % kStages;
      wait(&full[stage], t / kStages & 1);
      const auto* tile = reinterpret_cast<const __nv_bfloat16*>(tiles + stage * kTileBytes);
#pragma unroll 1
      for (int row = 0; row < kRows; row++) sum += swizzled(tile, row, threadIdx.x);
      __syncwarp();
      if (lane == 0) arrive(&empty[stage]);
    }
    out[threadIdx.x] = sum;
  }
}

// out [128, 64] f32 = 2 in: tiles of 32 rows go out by tensor copies from one buffer, which is used again.
extern "C" __global__ void __launch_bounds__(128) scatter(const __grid_constant__ CUtensorMap map, const float* in) {
  extern __shared__ __align__(1024) unsigned char tiles[];
  auto* tile = reinterpret_cast<float*>(tiles);
#pragma unroll 1
  for (int t = 0; t < 4; t++) {
    for (int n = threadIdx.x; n < 32 * 64; n += 128) tile[n] = 2 * in[t * 32 * 64 + n];
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    if (threadIdx.x == 0) {
      asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(&map), "r"(0), "r"(t * 32), "r"(shared_address(tile))
                   : "memory");
      asm volatile("cp.async.bulk.commit_group;" ::: "memory");
      asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
    }
    __syncthreads();
  }
}

// Two blocks each copy half of every tile to both, so that each adds all rows: in and out as for ring, out once per block. One warp.
extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(32) pair(const __grid_constant__ CUtensorMap map, float* out) {
  extern __shared__ __align__(1024) unsigned char tiles[];
  __shared__ uint64_t full[1], empty[1];
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  if (threadIdx.x == 0) {
    init(full, 1);
    init(empty, 2);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncwarp();
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
  float sums[2] = {0, 0};
#pragma unroll 1
  for (int t = 0; t < kTiles; t++) {
    if (threadIdx.x == 0) {
      wait(empty, (t & 1) ^ 1);
      expect(full, kTileBytes);
      asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(
                       shared_address(tiles + rank * (kTileBytes / 2))),
                   "l"(&map), "r"(0), "r"(t * kRows + static_cast<int>(rank) * (kRows / 2)), "r"(shared_address(full)), "h"(static_cast<uint16_t>(3))
                   : "memory");
    }
    __syncwarp();
    wait(full, t & 1);
    const auto* tile = reinterpret_cast<const __nv_bfloat16*>(tiles);
#pragma unroll 1
    for (int row = 0; row < kRows; row++) {
      sums[0] += swizzled(tile, row, threadIdx.x);
      sums[1] += swizzled(tile, row, threadIdx.x + 32);
    }
    __syncwarp();
    if (threadIdx.x < 2) {
      asm volatile("{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1; mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote]; }" ::"r"(
                       shared_address(empty)),
                   "r"(threadIdx.x)
                   : "memory");
    }
  }
  out[rank * 64 + threadIdx.x] = sums[0];
  out[rank * 64 + threadIdx.x + 32] = sums[1];
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// out[n] = in[index[n]], rows of 16 bytes gathered by cp.async, which an mbarrier counts: warp 0 copies, warp 1 reads.
extern "C" __global__ void __launch_bounds__(64) gather(const uint4* in, const int* index, uint4* out) {
  __shared__ uint4 rows[32];
  __shared__ uint64_t full[1];
  if (threadIdx.x == 0) init(full, 32);
  __syncthreads();
  if (threadIdx.x < 32) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(&rows[threadIdx.x])), "l"(in + index[threadIdx.x]) : "memory");
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(full)) : "memory");
  } else {
    wait(full, 0);
    out[threadIdx.x - 32] = rows[63 - threadIdx.x];
  }
}

// out[n] = in[n] + 1, through a buffer that warp 0 fills and warp 1 empties, 4 times: barrier 1 says full, barrier 2 empty.
extern "C" __global__ void __launch_bounds__(64) relay(const float* in, float* out) {
  __shared__ float buffer[32];
  const int lane = threadIdx.x % 32;
#pragma unroll 1
  for (int t = 0; t < 4; t++) {
    if (threadIdx.x < 32) {
      if (t > 0) asm volatile("bar.sync 2, 64;" ::: "memory");
      buffer[lane] = in[t * 32 + lane];
      asm volatile("bar.arrive 1, 64;" ::: "memory");
    } else {
      asm volatile("bar.sync 1, 64;" ::: "memory");
      out[t * 32 + lane] = buffer[31 - lane] + 1;
      if (t < 3) asm volatile("bar.arrive 2, 64;" ::: "memory");
    }
  }
}

// The sum of 512 floats by one contiguous copy; every block adds its result to out by another.
extern "C" __global__ void __launch_bounds__(128) total(const float* in, float* out) {
  __shared__ __align__(128) float row[512];
  __shared__ __align__(16) float sums[4];
  __shared__ uint64_t full[1];
  if (threadIdx.x == 0) {
    init(full, 1);
    asm volatile("fence.proxy.async;" ::: "memory");
    expect(full, 2048);
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(row)),
                 "l"(in + blockIdx.x * 512), "r"(2048), "r"(shared_address(full))
                 : "memory");
  }
  __syncthreads();
  wait(full, 0);
  float sum = 0;
  for (int n = threadIdx.x; n < 512; n += 128) sum += row[n];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
  if (threadIdx.x % 32 == 0) {
    sums[threadIdx.x / 32] = sum;
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], 16;" ::"l"(out), "r"(shared_address(sums)) : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
  }
}
