#pragma once
// Prefill on tensor cores, float16 and bfloat16, exact softmax tile by tile (FlashAttention-2, arXiv 2307.08691):
//   S = Q Kᵀ;  x = bend(S);  P = 2^(x - max);  O = O · 2^(old max - max) + P V;  out = O / Σ P
// A block owns tile_rows query rows of one kv head, its group packed: row r is query r / group_size, head r % group_size of the group, so
// that a key is read once for all heads that share it. A warp owns 16 · warp_tiles of the rows with all their keys: S, P and O stay in its registers.
// Shared memory: Q | K ring | V ring, rows of 16-byte chunks, swizzled so that ldmatrix meets no bank conflict; while one
// stage is multiplied the next is on its way. A warp reads each B fragment once for its warp_tiles: with two of them,
// 256 bytes per 2 · 4096 operations stay below what shared memory delivers while the tensor cores work.
// ptxas for sm_80: at most 255 registers, no spills; 48, 64, 88 and 96 KiB of shared memory for head dims 64, 128, 192/128 and 256, so two
// blocks per multiprocessor of sm_80 up to 128 and one above. Floor of a row tile over n keys: 2 · tile_rows · n · (head_dim_qk +
// head_dim_vo) operations and 2 · n · (head_dim_qk + head_dim_vo) bytes of keys and values, that is tile_rows operations per byte:
// 128 (64 at head dim 256) from the L2 cache; from memory each key comes once for the tiles that run together.
// Keys that no row of the tile sees are not read; those that some rows do not see are masked, in edge tiles only.

#include "cuda/common/base2.cuh"
#include "cuda/common/cp_async.cuh"
#include "cuda/common/mma.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/common/warp.cuh"
#include "cuda/kernels/attention/logit.cuh"
#include "cuda/kernels/attention/params.h"
#include "cuda/kernels/attention/span.cuh"
#include "cuda/kernels/attention/tile_memory.cuh"

namespace attn::cuda {

template <class T, int kShape>
struct TileTask : TileMemory<T, kShape> {
  using Memory = TileMemory<T, kShape>;
  using Memory::kQk, Memory::kVo, Memory::kKv, Memory::kTiles, Memory::kRows, Memory::kQkChunks, Memory::kVoChunks, Memory::kKeyBytes, Memory::kValueBytes;
  using Memory::p, Memory::span, Memory::first_row, Memory::num_rows, Memory::q_shared, Memory::k_shared, Memory::v_shared;
  using Memory::query_of, Memory::head_of, Memory::load_queries, Memory::load_stage, Memory::store;

  __device__ void multiply_keys(float (&s)[kTiles][kKv / 8][4], int stage, int warp, int lane) const {
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int n = 0; n < kKv / 8; ++n) s[t][n][0] = s[t][n][1] = s[t][n][2] = s[t][n][3] = 0;
    }
    const std::uint32_t keys = k_shared + stage * kKeyBytes;
#pragma unroll
    for (int k = 0; k < kQk / 16; ++k) {
      std::uint32_t a[kTiles][4];
#pragma unroll
      for (int t = 0; t < kTiles; ++t) ldmatrix_x4(a[t], q_shared + swizzled_offset<kQkChunks>((warp * kTiles + t) * 16 + lane % 16, k * 2 + lane / 16));
#pragma unroll
      for (int n = 0; n < kKv / 16; ++n) {
        std::uint32_t b[4];
        ldmatrix_x4(b, keys + swizzled_offset<kQkChunks>(n * 16 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          mma_16x8x16(T(), s[t][2 * n], a[t], b[0], b[1]);
          mma_16x8x16(T(), s[t][2 * n + 1], a[t], b[2], b[3]);
        }
      }
    }
  }

  /// Whether any value of the fragments is infinite or NaN, which is when all bits of its exponent are set.
  static __device__ bool any_not_finite(const std::uint32_t (&b)[4]) {
    constexpr std::uint32_t kLow = kExponentBits<T>, kHigh = kLow << 16;
    bool found = false;
#pragma unroll
    for (std::uint32_t x : b) found |= (x & kLow) == kLow || (x & kHigh) == kHigh;
    return __any_sync(kFullWarp, found);
  }

  /// out += P V of 16 keys from `key0`, one key after the other, each added only to the rows that see it: 0 · NaN is NaN, so a value
  /// that is not finite must not meet the zero of a row it is hidden from.
  __device__ void add_seen(float (&out)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1, int key0, int row, int lane) const {
#pragma unroll 1
    for (int key = 0; key < 16; ++key) {
      const bool mine = lane % 4 == key % 8 / 2;
      const std::uint32_t half = key % 2 ? 0xffff0000u : 0x0000ffffu;
      float product[4] = {};
      mma_16x8x16(T(), product, a, mine && key < 8 ? b0 & half : 0, mine && key >= 8 ? b1 & half : 0);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const std::int64_t i = query_of(row + e / 2 * 8), j = key0 + key;
        out[e] += j >= span.seen_begin(p, i) && j < span.seen_end(p, i) ? product[e] : 0.0f;
      }
    }
  }

  /// `edge`: some rows do not see some of the keys.
  __device__ void add_values(float (&o)[kTiles][kVo / 8][4], const float (&s)[kTiles][kKv / 8][4], int stage, int first, bool edge, int warp, int lane) const {
    const std::uint32_t values = v_shared + stage * kValueBytes;
#pragma unroll
    for (int k = 0; k < kKv / 16; ++k) {
      std::uint32_t a[kTiles][4];
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        a[t][0] = pack_pair(T(), s[t][2 * k][0], s[t][2 * k][1]);
        a[t][1] = pack_pair(T(), s[t][2 * k][2], s[t][2 * k][3]);
        a[t][2] = pack_pair(T(), s[t][2 * k + 1][0], s[t][2 * k + 1][1]);
        a[t][3] = pack_pair(T(), s[t][2 * k + 1][2], s[t][2 * k + 1][3]);
      }
#pragma unroll
      for (int n = 0; n < kVo / 16; ++n) {
        std::uint32_t b[4];
        ldmatrix_x4_transposed(b, values + swizzled_offset<kVoChunks>(k * 16 + lane % 16, n * 2 + lane / 16));
        if (edge && any_not_finite(b)) {
#pragma unroll
          for (int t = 0; t < kTiles; ++t) {
            const int row = first_row + (warp * kTiles + t) * 16 + lane / 4;
            add_seen(o[t][2 * n], a[t], b[0], b[1], first + k * 16, row, lane);
            add_seen(o[t][2 * n + 1], a[t], b[2], b[3], first + k * 16, row, lane);
          }
        } else {
#pragma unroll
          for (int t = 0; t < kTiles; ++t) {
            mma_16x8x16(T(), o[t][2 * n], a[t], b[0], b[1]);
            mma_16x8x16(T(), o[t][2 * n + 1], a[t], b[2], b[3]);
          }
        }
      }
    }
  }

  /// s, of keys from `first`, becomes probabilities; maxima (base 2) and this lane's part of the sums move on.
  template <bool kEdge>
  __device__ void softmax(float (&s)[kTiles][kKv / 8][4], float (&o)[kTiles][kVo / 8][4], float (&max)[kTiles][2], float (&sum)[kTiles][2], int first, int warp,
                          int lane) const {
    const bool bent = p.logit_softcap > 0 || p.alibi_slopes;
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float top = max[t][half];
        if (kEdge || bent) {
          const int row = first_row + (warp * kTiles + t) * 16 + half * 8 + lane / 4, i = query_of(row);
          const int begin = static_cast<int>(max_of(span.seen_begin(p, i) - first, -1)), end = static_cast<int>(min_of(span.seen_end(p, i) - first, kKv));
          const std::int64_t distance = i + (span.kv_len - span.qo_len) - first;
          const float slope = alibi_slope(p, span.index, head_of(min(row, num_rows - 1)));
#pragma unroll
          for (int n = 0; n < kKv / 8; ++n) {
#pragma unroll
            for (int e = 0; e < 2; ++e) {
              const int j = n * 8 + lane % 4 * 2 + e;
              float& x = s[t][n][half * 2 + e];
              x = bend_logit(p, x, slope, distance - j) * kLog2e;
              if (kEdge && (j < begin || j >= end)) x = kNegInf;
              top = fmaxf(top, x);
            }
          }
        } else {
          const float scale = p.softmax_scale * kLog2e;
#pragma unroll
          for (int n = 0; n < kKv / 8; ++n) {
#pragma unroll
            for (int e = 0; e < 2; ++e) top = fmaxf(top, s[t][n][half * 2 + e] *= scale);
          }
        }
        top = fmaxf(top, __shfl_xor_sync(kFullWarp, top, 1));
        top = fmaxf(top, __shfl_xor_sync(kFullWarp, top, 2));
        const float base = top == kNegInf ? 0.0f : top;
        if (__any_sync(kFullWarp, top > max[t][half])) {
          const float factor = top > max[t][half] ? exp2_approx(max[t][half] - base) : 1.0f;
          max[t][half] = top;
          sum[t][half] *= factor;
#pragma unroll
          for (int n = 0; n < kVo / 8; ++n) {
            o[t][n][half * 2] *= factor;
            o[t][n][half * 2 + 1] *= factor;
          }
        }
#pragma unroll
        for (int n = 0; n < kKv / 8; ++n) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& x = s[t][n][half * 2 + e];
            x = exp2_approx(x - base);
            sum[t][half] += x;
          }
        }
      }
    }
  }

  __device__ void run() const {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float o[kTiles][kVo / 8][4] = {};
    float max[kTiles][2], sum[kTiles][2] = {};
#pragma unroll
    for (int t = 0; t < kTiles; ++t) max[t][0] = max[t][1] = kNegInf;

    // Keys of the first and the last valid query bound those of all between.
    const std::int64_t first_query = query_of(first_row);
    const std::int64_t last_query = min_of(query_of(static_cast<int>(min_of(first_row + std::int64_t{kRows}, num_rows)) - 1), span.qo_len - 1);
    const std::int64_t seen_end = first_query < span.qo_len ? span.seen_end(p, last_query) : 0;
    const int end = static_cast<int>(max_of(seen_end, 0)), begin = static_cast<int>(min_of(span.seen_begin(p, first_query), end));
    if (begin < end) {
      const int inner_begin = static_cast<int>(span.seen_begin(p, last_query)), inner_end = static_cast<int>(max_of(span.seen_end(p, first_query), 0));
      const int origin = begin / kKv * kKv;
      load_queries();
      load_stage(0, origin, begin, end);
      cp_async_commit();
      int stage = 0;
      for (int first = origin; first < end; first += kKv, stage ^= 1) {
        cp_async_wait<0>();
        __syncthreads();  // everybody's copies are there, and everybody is done with the other stage
        if (first + kKv < end) {
          load_stage(stage ^ 1, first + kKv, begin, end);
          cp_async_commit();
        }
        __syncwarp();
        float s[kTiles][kKv / 8][4];
        multiply_keys(s, stage, warp, lane);
        const bool edge = first < inner_begin || first + kKv > inner_end;
        if (edge) {
          softmax<true>(s, o, max, sum, first, warp, lane);
        } else {
          softmax<false>(s, o, max, sum, first, warp, lane);
        }
        __syncwarp();  // lanes may have parted over their own rows' options; mma needs them together
        add_values(o, s, stage, first, edge, warp, lane);
      }
    }
    store(o, max, sum, warp, lane);
  }
};

template <class T, int kShape>
__device__ __forceinline__ void attention_tile(const AttentionTileParams& params) {
  using Task = TileTask<T, kShape>;
  extern __shared__ __align__(128) char dynamic_shared[];
  const AttentionProblem& p = params.problem;
  // The last tiles first: under causal masks they see the most keys, and the short ones fill the gaps at the end.
  const unsigned rank = blockIdx.x / params.num_heads, head = blockIdx.x - rank * params.num_heads, sequence = head / p.num_kv_heads;
  const Span span(p, sequence);
  const std::int64_t first_row = static_cast<std::int64_t>(params.num_row_tiles - 1 - rank) * Task::kRows, num_rows = span.qo_rows * p.group_size;
  if (first_row >= num_rows) return;
  const std::uint32_t q = shared_address(dynamic_shared), k = q + Task::kRows * Task::kQk * 2, v = k + kTileStages * Task::kKeyBytes;
  const int kv_head = static_cast<int>(head - sequence * p.num_kv_heads);
  const Task task{{p, span, static_cast<int>(first_row), static_cast<int>(num_rows), kv_head, q, k, v, dynamic_shared, params.vector_out}};
  task.run();
}

}  // namespace attn::cuda
