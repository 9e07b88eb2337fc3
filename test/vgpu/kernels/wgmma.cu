// Small kernels with wgmma, each correct. wgmma.test.ts breaks them one edit at a time.
#include <cuda.h>
#include <cuda_bf16.h>

#include <cstdint>

namespace {

__device__ uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

__device__ void init(uint64_t* barrier, unsigned count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}
__device__ void arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
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
__device__ void load(void* to, const CUtensorMap* map, int row, uint64_t* barrier, int column = 0) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(shared_address(to)), "l"(map),
               "r"(column), "r"(row), "r"(shared_address(barrier))
               : "memory");
}

// The accumulators of m64n64: 32 registers.
#define FOUR(op, d, n) op(d[n]), op(d[n + 1]), op(d[n + 2]), op(d[n + 3])
#define ALL(op, d) FOUR(op, d, 0), FOUR(op, d, 4), FOUR(op, d, 8), FOUR(op, d, 12), FOUR(op, d, 16), FOUR(op, d, 20), FOUR(op, d, 24), FOUR(op, d, 28)
#define INOUT(x) "+f"(x)
#define D                                                                                                                                                  \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}"

// Tiles of 64 rows of 128 bytes with the 128-byte swizzle, 1024 bytes from eight rows to the next.
__device__ uint64_t descriptor(uint32_t address) { return uint64_t{1} << 62 | uint64_t{1024 / 16} << 32 | 1 << 16 | address / 16; }
/// The same 64 rows as two boxes of 64 bytes width with the 64-byte swizzle: 512 bytes from eight rows to the next, `next` to the columns after the first 32.
__device__ uint64_t narrow_descriptor(uint32_t address, uint32_t next) { return uint64_t{2} << 62 | uint64_t{512 / 16} << 32 | next / 16 << 16 | address / 16; }

template <int kMajorB>
__device__ void product(float (&d)[32], uint64_t a, uint64_t b, int add) {
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %34, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " D ", %32, %33, p, 1, 1, 0, %35; }"
               : ALL(INOUT, d)
               : "l"(a), "l"(b), "r"(add), "n"(kMajorB));
}
__device__ void product_of_registers(float (&d)[32], const uint32_t* a, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " D ", {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
               : ALL(INOUT, d)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ void fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ void commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kStay>
__device__ void wait_group(float (&d)[32]) {
  asm volatile("wgmma.wait_group.sync.aligned %32;" : ALL(INOUT, d) : "n"(kStay) : "memory");
}
__device__ uint32_t pack(float low, float high) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  return reinterpret_cast<const uint32_t&>(both);
}

/// Of this thread: row `row` + 8 h, columns 8 j + 2 t + e in d[4 j + 2 h + e].
__device__ void store(const float (&d)[32], float* out, int row) {
  const int column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int i = 0; i < 32; i++) out[(row + i / 2 % 2 * 8) * 64 + i / 4 * 8 + column + i % 2] = d[i];
}

constexpr int kTile = 64 * 128, kNarrowBox = kTile / 2, kTiles = 6, kStages = 2;

}  // namespace

// out = (q k^T) v with q [128, 64], k and v [384, 64] in bf16: warpgroup 0 copies, the others own 64 rows of q each. Products of small integers: exact.
extern "C" __global__ void __launch_bounds__(384, 1)
    chain(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k, const __grid_constant__ CUtensorMap v, float* out) {
  extern __shared__ __align__(1024) unsigned char tiles[];  // q, q, then k and v of each stage
  __shared__ uint64_t full_q, full_k[kStages], full_v[kStages], empty_k[kStages], empty_v[kStages];
  const int group = threadIdx.x / 128, lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
    init(&full_q, 1);
    for (int s = 0; s < kStages; s++) {
      init(&full_k[s], 1);
      init(&full_v[s], 1);
      init(&empty_k[s], 8);
      init(&empty_v[s], 8);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  if (group == 0) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == 0) {
      expect(&full_q, 2 * kTile);
      load(tiles, &q, 0, &full_q);
      load(tiles + kTile, &q, 64, &full_q);
#pragma unroll 1
      for (int t = 0; t < kTiles; t++) {
        const int stage = t % kStages;
        unsigned char* const tile = tiles + (2 + 2 * stage) * kTile;
        wait(&empty_k[stage], (t / kStages & 1) ^ 1);
        expect(&full_k[stage], kTile);
        load(tile, &k, t * 64, &full_k[stage]);
        wait(&empty_v[stage], (t / kStages & 1) ^ 1);
        expect(&full_v[stage], kTile);
        load(tile + kTile, &v, t * 64, &full_v[stage]);
      }
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    float o[32] = {};
    wait(&full_q, 0);
#pragma unroll 1
    for (int t = 0; t < kTiles; t++) {
      const int stage = t % kStages;
      const uint32_t tile = shared_address(tiles) + (2 + 2 * stage) * kTile;
      float s[32];
      wait(&full_k[stage], t / kStages & 1);
      fence();
#pragma unroll
      for (int step = 0; step < 4; step++)
        product<0>(s, descriptor(shared_address(tiles) + (group - 1) * kTile + step * 32), descriptor(tile + step * 32), step != 0);
      commit();
      wait_group<0>(s);
      if (lane == 0) arrive(&empty_k[stage]);
      uint32_t p[16];
#pragma unroll
      for (int i = 0; i < 16; i++) p[i] = pack(s[2 * i], s[2 * i + 1]);
      wait(&full_v[stage], t / kStages & 1);
      fence();
#pragma unroll
      for (int step = 0; step < 4; step++) product_of_registers(o, p + 4 * step, descriptor(tile + kTile + step * 16 * 128));
      commit();
      wait_group<0>(o);
      if (lane == 0) arrive(&empty_v[stage]);
    }
    store(o, out + (group - 1) * 64 * 64, threadIdx.x / 32 % 4 * 16 + lane / 4);
  }
}

// out = (q k^T) v with q, k and v [64, 64] in boxes of 32 columns: one warpgroup.
extern "C" __global__ void __launch_bounds__(128)
    narrow(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k, const __grid_constant__ CUtensorMap v, float* out) {
  extern __shared__ __align__(1024) unsigned char tiles[];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) {
    init(&full, 1);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    expect(&full, 3 * kTile);
    for (int box = 0; box < 2; box++) {
      load(tiles + box * kNarrowBox, &q, 0, &full, box * 32);
      load(tiles + kTile + box * kNarrowBox, &k, 0, &full, box * 32);
      load(tiles + 2 * kTile + box * kNarrowBox, &v, 0, &full, box * 32);
    }
  }
  __syncthreads();
  wait(&full, 0);
  const uint32_t a = shared_address(tiles), b = a + kTile, c = b + kTile;
  float s[32], o[32] = {};
  fence();
#pragma unroll
  for (int step = 0; step < 4; step++) {
    const int at = step / 2 * kNarrowBox + step % 2 * 32;
    product<0>(s, narrow_descriptor(a + at, 16), narrow_descriptor(b + at, 16), step != 0);
  }
  commit();
  wait_group<0>(s);
  uint32_t p[16];
#pragma unroll
  for (int i = 0; i < 16; i++) p[i] = pack(s[2 * i], s[2 * i + 1]);
#pragma unroll
  for (int i = 0; i < 32; i++) asm volatile("" : "+f"(o[i]));  // zeros before the fence, not behind it
  fence();
#pragma unroll
  for (int step = 0; step < 4; step++) product_of_registers(o, p + 4 * step, narrow_descriptor(c + step * 16 * 64, kNarrowBox));
  commit();
  wait_group<0>(o);
  store(o, out, threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4);
}

// out = a b and out + 64 * 64 = a b^T, with a and b [64, 64] floats that threads convert and put where wgmma wants them: each warp its own rows of a.
extern "C" __global__ void __launch_bounds__(128) restage(const float* a, const float* b, float* out) {
  __shared__ __align__(1024) unsigned char tiles[2 * kTile];
  const uint32_t tile_a = shared_address(tiles), tile_b = tile_a + kTile;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (int pair = 0; pair < 4; pair++) {  // 16 columns of a as four 8 x 8 matrices: rows 0-7, 8-15 of the warp, then eight columns on
    uint32_t m[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float* const from = a + (warp * 16 + lane / 4 + i % 2 * 8) * 64 + pair * 16 + i / 2 * 8 + lane % 4 * 2;
      m[i] = pack(from[0], from[1]);
    }
    const int row = warp * 16 + lane % 16, chunk = pair * 2 + lane / 16;
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(tile_a + row * 128 + ((chunk ^ row % 8) * 16)), "r"(m[0]), "r"(m[1]),
                 "r"(m[2]), "r"(m[3])
                 : "memory");
  }
#pragma unroll 1
  for (int i = threadIdx.x; i < 64 * 8; i += 128) {
    const int row = i / 8, chunk = i % 8;
    uint32_t m[4];
#pragma unroll
    for (int n = 0; n < 4; n++) m[n] = pack(b[row * 64 + chunk * 8 + 2 * n], b[row * 64 + chunk * 8 + 2 * n + 1]);
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(tile_b + row * 128 + ((chunk ^ row % 8) * 16)), "r"(m[0]), "r"(m[1]), "r"(m[2]), "r"(m[3])
                 : "memory");
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  float plain[32], transposed[32];
  fence();
#pragma unroll
  for (int step = 0; step < 4; step++) product<1>(plain, descriptor(tile_a + step * 32), descriptor(tile_b + step * 16 * 128), step != 0);
  commit();
#pragma unroll
  for (int step = 0; step < 4; step++) product<0>(transposed, descriptor(tile_a + step * 32), descriptor(tile_b + step * 32), step != 0);
  commit();
  wait_group<1>(plain);
  store(plain, out, warp * 16 + lane / 4);
  wait_group<0>(transposed);
  store(transposed, out + 64 * 64, warp * 16 + lane / 4);
}
