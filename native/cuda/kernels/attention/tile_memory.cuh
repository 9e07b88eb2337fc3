#pragma once
// What a block of the tile kernel (tile.cuh) reads and writes: its rows of queries and outputs, and the ring of keys and values.

#include "cuda/common/base2.cuh"
#include "cuda/common/cp_async.cuh"
#include "cuda/common/elements.cuh"
#include "cuda/common/mma.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/common/warp.cuh"
#include "cuda/kernels/attention/logit.cuh"
#include "cuda/kernels/attention/params.h"
#include "cuda/kernels/attention/span.cuh"

namespace attn::cuda {

template <class T, int kShape>
struct TileMemory {
  static constexpr AttentionTileShape kDims = kTileShapes[kShape];
  static constexpr int kQk = kDims.head_dim_qk, kVo = kDims.head_dim_vo, kKv = kDims.tile_kv, kTiles = kDims.warp_tiles;
  static constexpr int kRows = tile_rows(kDims), kThreads = kTileWarps * 32;
  static constexpr int kQkChunks = kQk / 8, kVoChunks = kVo / 8;
  static constexpr bool kTwoParts = kShape == kTwoPartShape;
  static constexpr int kKeyBytes = kKv * kQk * 2, kValueBytes = kKv * kVo * 2;

  const AttentionProblem& p;
  const Span& span;
  int first_row, num_rows;  // of the kv head in this sequence, padding included; 32 bits, as 64-bit divisions are subroutines
  int kv_head;
  std::uint32_t q_shared, k_shared, v_shared;
  char* shared;
  bool vector_out;

  __device__ int query_of(int row) const { return static_cast<int>(static_cast<unsigned>(row) / static_cast<unsigned>(p.group_size)); }
  __device__ std::int64_t head_of(int row) const { return kv_head * p.group_size + (row - query_of(row) * p.group_size); }

  /// The part that holds feature `d` (and d within it): chosen field by field, since a branch here would part the lanes before their barrier.
  static __device__ HeadRows part_of(const HeadRows (&parts)[2], int num_parts, int& d) {
    if constexpr (!kTwoParts) return parts[0];
    const bool second = num_parts == 2 && d >= parts[0].dim;
    HeadRows rows;
    rows.data = second ? parts[1].data : parts[0].data;
    rows.sequence_stride = second ? parts[1].sequence_stride : parts[0].sequence_stride;
    rows.row_stride = second ? parts[1].row_stride : parts[0].row_stride;
    rows.head_stride = second ? parts[1].head_stride : parts[0].head_stride;
    rows.dim = second ? parts[1].dim : parts[0].dim;
    d -= second ? parts[0].dim : 0;
    return rows;
  }

  __device__ void load_queries() const {
#pragma unroll 1
    for (int n = threadIdx.x; n < kRows * kQkChunks; n += kThreads) {
      const int r = n / kQkChunks, chunk = n % kQkChunks;
      int d = chunk * 8;
      const HeadRows q = part_of(p.q, p.num_parts, d);
      const int row = min(first_row + r, num_rows - 1), i = query_of(row);
      const bool valid = first_row + r < num_rows && i < span.qo_len && d < q.dim;
      const std::int64_t offset = span.qo_row(p, q, i) + head_of(row) * q.head_stride + (valid ? d : 0);
      cp_async_16(q_shared + swizzled_offset<kQkChunks>(r, chunk), reinterpret_cast<const T*>(q.data) + offset, valid);
    }
  }

  /// Keys and values [first, first + kKv), zeros outside [begin, end); addresses stay inside.
  __device__ void load_stage(int stage, int first, int begin, int end) const {
#pragma unroll 2
    for (int n = threadIdx.x; n < kKv * kQkChunks; n += kThreads) {
      const int r = n / kQkChunks, chunk = n % kQkChunks, j = min(max(first + r, begin), end - 1);
      int d = chunk * 8;
      const HeadRows k = part_of(p.k, p.num_parts, d);
      const bool valid = j == first + r && d < k.dim;
      const std::int64_t offset = span.kv_row(p, k, j) + kv_head * k.head_stride + (valid ? d : 0);
      cp_async_16(k_shared + stage * kKeyBytes + swizzled_offset<kQkChunks>(r, chunk), reinterpret_cast<const T*>(k.data) + offset, valid);
    }
#pragma unroll 2
    for (int n = threadIdx.x; n < kKv * kVoChunks; n += kThreads) {
      const int r = n / kVoChunks, chunk = n % kVoChunks, j = min(max(first + r, begin), end - 1);
      const bool valid = j == first + r && chunk * 8 < p.head_dim_vo;
      const std::int64_t offset = span.kv_row(p, p.v, j) + kv_head * p.v.head_stride + (valid ? chunk * 8 : 0);
      cp_async_16(v_shared + stage * kValueBytes + swizzled_offset<kVoChunks>(r, chunk), reinterpret_cast<const T*>(p.v.data) + offset, valid);
    }
  }

  /// Normalises, stages the warp's rows in its part of Q's memory, and stores them 16 bytes at a time.
  __device__ void store(const float (&o)[kTiles][kVo / 8][4], const float (&max)[kTiles][2], const float (&sum)[kTiles][2], int warp, int lane) const {
    const int warp_row = warp * kTiles * 16;
    char* staged = shared + warp_row * kQk * 2;
    __syncwarp();  // the last fragments of Q have been read
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float total = sum[t][half];
        total += __shfl_xor_sync(kFullWarp, total, 1);
        total += __shfl_xor_sync(kFullWarp, total, 2);
        const int r = t * 16 + half * 8 + lane / 4;
        const int row = first_row + warp_row + r, i = query_of(row);
        const bool exists = row < num_rows, valid = exists && i < span.qo_len;
        // Rows of padding ignore the sink: they are nobody's.
        const RowResult result = valid ? finish_row(p, head_of(row), max[t][half] * kLn2, total) : RowResult{0.0f, kNegInf};
        if (p.lse && exists && lane % 4 == 0) p.lse[span.lse_row(p, head_of(row), i)] = result.lse;
        const bool empty = !valid || total == 0;
#pragma unroll
        for (int n = 0; n < kVo / 8; ++n) {
          const float low = empty ? 0.0f : o[t][n][half * 2] * result.factor, high = empty ? 0.0f : o[t][n][half * 2 + 1] * result.factor;
          *reinterpret_cast<std::uint32_t*>(staged + swizzled_offset<kVoChunks>(r, n) + lane % 4 * 4) = pack_pair(T(), low, high);
        }
      }
    }
    __syncwarp();
#pragma unroll 2
    for (int n = lane; n < kTiles * 16 * kVoChunks; n += 32) {
      const int r = n / kVoChunks, chunk = n % kVoChunks;
      const int row = first_row + warp_row + r;
      if (row >= num_rows || chunk * 8 >= p.head_dim_vo) continue;
      T* out = reinterpret_cast<T*>(p.out.data) + span.qo_row(p, p.out, query_of(row)) + head_of(row) * p.out.head_stride + chunk * 8 * p.out.dim_stride;
      const char* from = staged + swizzled_offset<kVoChunks>(r, chunk);
      if (vector_out) {
        *reinterpret_cast<uint4*>(out) = *reinterpret_cast<const uint4*>(from);
      } else {
        for (int d = 0; d < 8; ++d) out[d * p.out.dim_stride] = reinterpret_cast<const T*>(from)[d];
      }
    }
  }
};

}  // namespace attn::cuda
