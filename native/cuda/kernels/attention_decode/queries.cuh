#pragma once
// The block's query rows in shared memory, as the right operand of wgmma: [dim / 64][rows][64 features], K-major with the 128-byte swizzle.
// A warp stores a row, a lane two features of each 64. Features and rows beyond the problem's are zeros.

#include "cuda/common/cp_async.cuh"
#include "cuda/common/elements.cuh"
#include "cuda/common/fence.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/kernels/attention_decode/task.cuh"
#include "cuda/kernels/attention_decode/tiles.h"

namespace attn::cuda {

/// Byte offset of feature `column` of 64 in row `row` of a box.
__device__ __forceinline__ int swizzled_column(int row, int column) { return row * 128 + (((column / 8) ^ row) % 8) * 16 + column % 8 * 2; }

/// `queries`: DecodeLayout::kQueriesAt.
template <class T, DecodeTile kTile>
__device__ void store_queries(const DecodeTask& task, char* queries, int warp, int lane) {
  const HeadRows& q = task.p.q[0];
#pragma unroll 1
  for (int row = warp; row < kTile.rows; row += kTile.kConsumerWarps) {
    const bool exists = row < task.num_rows;
    const T* from = reinterpret_cast<const T*>(q.data);
    if (exists) from += task.span.qo_row(task.p, q, task.query_of(row)) + task.head_of(row) * q.head_stride;
#pragma unroll
    for (int box = 0; box < kTile.dim / 64; ++box) {
      const int feature = box * 64 + 2 * lane;
      std::uint32_t pair = 0;
      if (exists && feature < q.dim) pair = *reinterpret_cast<const std::uint32_t*>(from + feature);
      *reinterpret_cast<std::uint32_t*>(queries + box * kTile.rows * 128 + swizzled_column(row, 2 * lane)) = pair;
    }
  }
}

}  // namespace attn::cuda
