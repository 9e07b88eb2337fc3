// y = x · weightᵀ + bias by mma.sync m16n8k16, f16 or bf16 with float32 sums; and by float32 arithmetic for other dtypes.
//
// A block owns a tile of y [rows, columns] of one batch entry and walks in_features in steps of k. A ring of stages is filled by
// cp.async, stages - 1 steps ahead. Shared memory per stage: x tile [rows, k], weight tile [columns, k], both as swizzled 16-byte
// chunks (mma.cuh), so that neither the copies nor ldmatrix meet bank conflicts. Rows, columns and features past the end are
// zeros in shared memory; the sizes are free except that 8 features are one copy: strides and in_features are multiples of 8.
// With warps_k > 1 the warps share the tile and take parts of each step; their sums are added through shared memory in fixed
// order. That is the tile for decode: few rows of x, the weight is read once and many copies are on their way.
// Tiles (params.h): large 64 accumulators a thread, budget 128 registers; medium 32, decode 16.

#include <cstdint>

#include "cuda/common/cp_async.cuh"
#include "cuda/common/elements.cuh"
#include "cuda/common/mma.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/kernels/linear/params.h"

namespace attn::cuda {
namespace {

extern __shared__ __align__(128) unsigned char shared[];

struct TileOrigin {
  std::int64_t batch, row, column;
};

/// Blocks of one column tile follow each other: they read the same part of the weight out of the L2 cache.
__device__ TileOrigin tile_origin(const LinearParams& p, int rows, int columns) {
  const std::int64_t index = blockIdx.x;
  const std::int64_t tiles = p.row_tiles * p.column_tiles;
  const std::int64_t within = index % tiles;
  return {index / tiles, within % p.row_tiles * rows, within / p.row_tiles * columns};
}

/// Starts the copies of a [kRows, kK] tile whose first element is (row, k) of `matrix`.
template <class T, int kRows, int kK, int kStep>
__device__ void start_tile(std::uint32_t tile, const T* matrix, std::int64_t stride, std::int64_t row, std::int64_t rows, std::int64_t k, std::int64_t depth) {
  constexpr int kChunks = kK / 8;
#pragma unroll
  for (int i = threadIdx.x; i < kRows * kChunks; i += kStep) {
    const int r = i / kChunks, chunk = i % kChunks;
    const bool valid = row + r < rows && k + chunk * 8 < depth;
    const T* from = valid ? matrix + (row + r) * stride + k + chunk * 8 : matrix;
    cp_async_16(tile + swizzled_offset<kChunks>(r, chunk), from, valid);
  }
}

/// One stage's products of this warp's part: rows warp_row …, columns warp_column …, k steps kFirst … of 16.
template <class T, LinearTile kTile, int kM, int kN>
__device__ void multiply_stage(float (&sums)[kM][kN][4], std::uint32_t x_tile, std::uint32_t weight_tile, int warp_row, int warp_column, int warp_k) {
  constexpr int kChunks = kTile.k / 8;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int step = 0; step < kTile.k / kTile.warps_k / 16; ++step) {
    const int chunk = warp_k + step * 2;
    std::uint32_t a[kM][4];
#pragma unroll
    for (int m = 0; m < kM; ++m) ldmatrix_x4(a[m], x_tile + swizzled_offset<kChunks>(warp_row + m * 16 + lane % 16, chunk + lane / 16));
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      std::uint32_t b[4];  // two column groups of 8
      ldmatrix_x4(b, weight_tile + swizzled_offset<kChunks>(warp_column + n * 8 + lane / 16 * 8 + lane % 8, chunk + lane / 8 % 2));
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma_16x8x16(T{}, sums[m][n], a[m], b[0], b[1]);
        mma_16x8x16(T{}, sums[m][n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/// Warps of the same rows and columns but other parts of k: all sums end up in the first, added in order of k.
template <LinearTile kTile, int kM, int kN>
__device__ void add_warps(float (&sums)[kM][kN][4], int part) {
  float* exchange = reinterpret_cast<float*>(shared);  // [part - 1][value][lane]
  constexpr int kValues = kM * kN * 4;
  static_assert((kTile.warps_k - 1) * kValues * 32 * 4 <= kSharedBytes<kTile> && kTile.warps_m == 1 && kTile.warps_n == 1);
  const int lane = threadIdx.x % 32;
  __syncthreads();  // the last stage has been read
  float* own = exchange + (part - 1) * kValues * 32 + lane;
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    if (part > 0) own[i * 32] = sums[i / 4 / kN][i / 4 % kN][i % 4];
  }
  __syncthreads();
  if (part > 0) return;
#pragma unroll
  for (int other = 0; other < kTile.warps_k - 1; ++other) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) sums[i / 4 / kN][i / 4 % kN][i % 4] += exchange[(other * kValues + i) * 32 + lane];
  }
}

template <class T>
__device__ void store_pair(const LinearParams& p, T* y, std::int64_t column, float low, float high) {
  if (column >= p.out_features) return;
  const bool both = column + 1 < p.out_features;
  if (p.bias) {
    low += load_element(p.bias, p.bias_dtype, column);
    if (both) high += load_element(p.bias, p.bias_dtype, column + 1);
  }
  if (both && p.paired_stores) {
    *reinterpret_cast<std::uint32_t*>(y + column) = pack_pair(T{}, low, high);
  } else {
    y[column] = from_float<T>(low);
    if (both) y[column + 1] = from_float<T>(high);
  }
}

template <class T, LinearTile kTile>
__device__ void linear_tile(const LinearParams& p) {
  constexpr int kM = kTile.rows / kTile.warps_m / 16, kN = kTile.columns / kTile.warps_n / 8;
  const TileOrigin origin = tile_origin(p, kTile.rows, kTile.columns);
  const T* x = static_cast<const T*>(p.x) + origin.batch * p.x_batch_stride;
  const T* weight = static_cast<const T*>(p.weight) + origin.batch * p.weight_batch_stride;
  const int warp = threadIdx.x / 32;
  const int part = warp / (kTile.warps_m * kTile.warps_n);
  const int warp_row = warp % kTile.warps_m * (kM * 16), warp_column = warp / kTile.warps_m % kTile.warps_n * (kN * 8);
  const int warp_k = part * (kTile.k / kTile.warps_k / 8);  // first chunk of each stage
  const std::uint32_t ring = shared_address(shared);

  const auto start_stage = [&](std::int64_t step, std::int64_t steps) {
    if (step < steps) {
      const std::uint32_t stage = ring + static_cast<std::uint32_t>(step % kTile.stages) * kStageBytes<kTile>;
      start_tile<T, kTile.rows, kTile.k, kThreads<kTile>>(stage, x, p.x_row_stride, origin.row, p.rows, step * kTile.k, p.in_features);
      start_tile<T, kTile.columns, kTile.k, kThreads<kTile>>(stage + kTile.rows * kTile.k * 2, weight, p.weight_row_stride, origin.column, p.out_features,
                                                             step * kTile.k, p.in_features);
    }
    cp_async_commit();  // an empty group at the end keeps the count of groups
  };

  float sums[kM][kN][4] = {};
  const std::int64_t steps = (p.in_features + kTile.k - 1) / kTile.k;
#pragma unroll
  for (int step = 0; step < kTile.stages - 1; ++step) start_stage(step, steps);
  for (std::int64_t step = 0; step < steps; ++step) {
    cp_async_wait<kTile.stages - 2>();
    __syncthreads();  // step's tiles are there for all, and all have read the stage that is filled next
    start_stage(step + kTile.stages - 1, steps);
    const std::uint32_t stage = ring + static_cast<std::uint32_t>(step % kTile.stages) * kStageBytes<kTile>;
    multiply_stage<T, kTile>(sums, stage, stage + kTile.rows * kTile.k * 2, warp_row, warp_column, warp_k);
  }
  cp_async_wait<0>();
  if constexpr (kTile.warps_k > 1) {
    add_warps<kTile>(sums, part);
    if (part > 0) return;
  }

  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int64_t row = origin.row + warp_row + m * 16 + half * 8 + lane / 4;
      if (row >= p.rows) continue;
      T* y = static_cast<T*>(p.y) + origin.batch * p.y_batch_stride + row * p.y_row_stride;
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        store_pair(p, y, origin.column + warp_column + n * 8 + lane % 4 * 2, sums[m][n][half * 2], sums[m][n][half * 2 + 1]);
      }
    }
  }
}

/// Any dtypes and alignment: tiles of float32 in shared memory, 4 x 4 outputs a thread. 8.25 KiB of static shared memory.
__device__ void linear_plain(const LinearParams& p) {
  constexpr LinearTile kTile = kPlainTile;
  constexpr int kPad = 2;  // the transposing stores below go down two columns: banks 2c + r
  __shared__ float x_tile[kTile.k][kTile.rows + kPad], weight_tile[kTile.k][kTile.columns + kPad];
  const TileOrigin origin = tile_origin(p, kTile.rows, kTile.columns);
  const std::int64_t x_base = origin.batch * p.x_batch_stride, weight_base = origin.batch * p.weight_batch_stride;
  const int thread = threadIdx.x, tx = thread % 16, ty = thread / 16;
  float sums[4][4] = {};
  for (std::int64_t k = 0; k < p.in_features; k += kTile.k) {
    __syncthreads();
#pragma unroll
    for (int i = thread; i < kTile.rows * kTile.k; i += kThreads<kTile>) {
      const int r = i / kTile.k, c = i % kTile.k;
      const bool in_depth = k + c < p.in_features;
      const std::int64_t row = origin.row + r, column = origin.column + r;
      x_tile[c][r] = in_depth && row < p.rows ? load_element(p.x, p.x_dtype, x_base + row * p.x_row_stride + k + c) : 0;
      weight_tile[c][r] = in_depth && column < p.out_features ? load_element(p.weight, p.weight_dtype, weight_base + column * p.weight_row_stride + k + c) : 0;
    }
    __syncthreads();
#pragma unroll
    for (int c = 0; c < kTile.k; ++c) {
      float a[4], b[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a[i] = x_tile[c][ty + i * 16];
        b[i] = weight_tile[c][tx + i * 16];
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] += a[i] * b[j];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::int64_t row = origin.row + ty + i * 16;
    if (row >= p.rows) continue;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const std::int64_t column = origin.column + tx + j * 16;
      if (column >= p.out_features) continue;
      const float bias = p.bias ? load_element(p.bias, p.bias_dtype, column) : 0;
      store_element(p.y, p.y_dtype, origin.batch * p.y_batch_stride + row * p.y_row_stride + column, sums[i][j] + bias);
    }
  }
}

}  // namespace

#define ATTN_LINEAR_KERNEL(name, type, tile) \
  extern "C" __global__ void __launch_bounds__(kThreads<tile>) name(const __grid_constant__ LinearParams p) { linear_tile<type, tile>(p); }
ATTN_LINEAR_KERNEL(linear_large_f16, __half, kLargeTile)
ATTN_LINEAR_KERNEL(linear_large_bf16, __nv_bfloat16, kLargeTile)
ATTN_LINEAR_KERNEL(linear_medium_f16, __half, kMediumTile)
ATTN_LINEAR_KERNEL(linear_medium_bf16, __nv_bfloat16, kMediumTile)
ATTN_LINEAR_KERNEL(linear_decode_f16, __half, kDecodeTile)
ATTN_LINEAR_KERNEL(linear_decode_bf16, __nv_bfloat16, kDecodeTile)
#undef ATTN_LINEAR_KERNEL

extern "C" __global__ void __launch_bounds__(kThreads<kPlainTile>) linear_plain_any(const __grid_constant__ LinearParams p) { linear_plain(p); }

}  // namespace attn::cuda
