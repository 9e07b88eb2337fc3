// Small kernels with the mechanisms that the package's kernels use, each correct. mutants.test.ts breaks them one edit at a time.
#include <cuda_bf16.h>

#include <cstdint>

namespace {

__device__ uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

__device__ void copy16(void* to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}

}  // namespace

// C (64x8) = A (64x64) B (64x8), bf16 in, f32 out; one block of 4 warps, k in steps of 16 through two stages.
extern "C" __global__ void __launch_bounds__(128) matmul(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
  __shared__ alignas(16) __nv_bfloat16 tile_a[2][64][24];  // 48-byte rows: 8 rows of 16 bytes lie in different banks
  __shared__ alignas(16) __nv_bfloat16 tile_b[2][16][8];
  const int thread = threadIdx.x;
  const int warp = thread / 32;
  const int lane = thread % 32;
  auto load = [&](int step) {
    copy16(&tile_a[step % 2][thread / 2][thread % 2 * 8], a + thread / 2 * 64 + step * 16 + thread % 2 * 8);
    if (thread < 16) copy16(&tile_b[step % 2][thread][0], b + (step * 16 + thread) * 8);
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  float d[4] = {0, 0, 0, 0};
  load(0);
#pragma unroll 1
  for (int step = 0; step < 4; step++) {
    if (step + 1 < 4) {
      load(step + 1);
      asm volatile("cp.async.wait_group 1;" ::: "memory");
    } else {
      asm volatile("cp.async.wait_group 0;" ::: "memory");
    }
    __syncthreads();
    uint32_t fa[4], fb[2];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3])
                 : "r"(shared_address(&tile_a[step % 2][warp * 16 + lane % 16][lane / 16 * 8])));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(fb[0]), "=r"(fb[1])
                 : "r"(shared_address(&tile_b[step % 2][lane % 16][0])));
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
    __syncthreads();
  }
  const int row = warp * 16 + lane / 4;
  const int column = lane % 4 * 2;
  for (int q = 0; q < 4; q++) c[(row + q / 2 * 8) * 8 + column + q % 2] = d[q];
}

// out[block] = sum of 128 inputs of the block: a warp by shuffles, the warps through shared memory.
extern "C" __global__ void __launch_bounds__(128) block_sum(const float* in, float* out, int n) {
  __shared__ float partial[4];
  const int at = blockIdx.x * 128 + threadIdx.x;
  float sum = 0;
  if (at < n) sum = in[at];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = partial[0] + partial[1] + partial[2] + partial[3];
}

// out[t] = in[31 - t] of the warp's 32 elements, through shared memory inside one warp.
extern "C" __global__ void __launch_bounds__(32) warp_reverse(const float* in, float* out) {
  __shared__ float row[32];
  row[threadIdx.x] = in[threadIdx.x];
  __syncwarp();
  out[threadIdx.x] = row[31 - threadIdx.x];
}

// The block that finishes last adds what the others stored.
extern "C" __global__ void __launch_bounds__(32) last_block(const float* in, float* partial, unsigned* finished, float* out) {
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = in[blockIdx.x] * 2;
    __threadfence();
    if (atomicAdd(finished, 1u) + 1 == gridDim.x) {
      __threadfence();
      float sum = 0;
      for (unsigned n = 0; n < gridDim.x; n++) sum += __ldcg(partial + n);
      *out = sum;
    }
  }
}
