#pragma once
// The two products of a tile whose keys and values are e4m3, as they stay in shared memory: half the bytes of 16 bits. Each becomes f16, exactly, on its
// way into the registers of wgmma's left operand, where the order of features and keys is free and chosen so that no byte has to change lanes:
//   keys     a lane reads 16 features of its key at once; product k takes the four from 4k on for columns 2t, 2t + 1, 2t + 8 and 2t + 9
//   values   ldmatrix transposes pairs of features: a register holds features 2g, 2g + 1 of keys 2t and 2t + 1, two bytes each
// with g = lane / 4, t = lane % 4. Queries lie in the order of the keys' features. A lane converts dim / 4 pairs of
// keys and as many of values a tile: at 16 lanes a cycle, the lowest rate that a multiprocessor has for any conversion, less than half of the time
// that memory needs for them.
//
// Queries of any 16-bit type or e4m3 become f16 too, multiplied by a power of two per row so that the largest is near 2^14: what is lost lies below
// 2^-38 of it. Scales of rows, queries and keys multiply the scores, those of values the output.

#include "cuda/common/mma.cuh"
#include "cuda/common/warp.cuh"
#include "cuda/common/wgmma_swapped.cuh"
#include "cuda/kernels/attention_decode/queries.cuh"

namespace attn::cuda {

/// Two e4m3 of the lower half, the lower one at the lower address, as f16: exact.
__device__ __forceinline__ std::uint32_t half_pair(std::uint32_t bits) {
  std::uint32_t pair;
  asm("{\n.reg .b16 low, high;\nmov.b32 {low, high}, %1;\ncvt.rn.f16x2.e4m3x2 %0, low;\n}" : "=r"(pair) : "r"(bits));
  return pair;
}

template <DecodeTile kTile>
struct ProductsE4m3 {
  using Layout = DecodeLayout<kTile>;
  using Product = WgmmaSwapped<__half, kTile.rows>;
  using Operand = __half;
  static constexpr bool kScaledRows = true;
  static constexpr int kFeatureTiles = kTile.dim / 64, kAccumulators = kTile.rows / 2;

  int warp, lane;

  /// Rows of a quarter warp lie four apart, so that the swizzle puts the 64 bytes that each of the two reads into different banks.
  __device__ static int spread(int n) { return n % 2 * 4 + n / 2; }
  __device__ int key(int h) const { return 16 * warp + 8 * h + spread(lane / 4); }
  __device__ static int position(int key) { return key / 8 * 8 + key % 4 * 2 + key / 4 % 2; }
  __device__ int feature(int m, int h) const { return 64 * m + 16 * warp + 2 * (lane / 4) + h; }

  /// In the order of the keys' features; the inverse of the rows' powers of two at kScalesAt.
  __device__ static void store_queries(const DecodeTask& task, char* shared, int warp, int lane) {
    const HeadRows& q = task.p.q[0];
#pragma unroll 1
    for (int row = warp; row < kTile.rows; row += kTile.kConsumerWarps) {
      const bool exists = row < task.num_rows;
      const std::int64_t from = exists ? task.span.qo_row(task.p, q, task.query_of(row)) + task.head_of(row) * q.head_stride : 0;
      float pairs[kTile.dim / 64][2], largest = 0;
#pragma unroll
      for (int i = 0; i < kTile.dim / 32; ++i) {
        const int feature = i / 2 * 64 + 2 * lane + i % 2;
        const float x = exists && feature < q.dim ? load_element(q.data, q.dtype, from + feature * q.dim_stride) : 0.0f;
        pairs[i / 2][i % 2] = x;
        largest = fmaxf(largest, isfinite(x) ? fabsf(x) : 0.0f);
      }
      const int exponent = static_cast<int>(__float_as_uint(warp_max(largest)) >> 23) - 127, power = min(max(14 - exponent, -126), 126);
      const float factor = __uint_as_float(static_cast<unsigned>(power + 127) << 23), inverse = __uint_as_float(static_cast<unsigned>(127 - power) << 23);
      if (lane == 0) reinterpret_cast<float*>(shared + Layout::kScalesAt)[row] = inverse;
      // Feature 16t + 4k + 2u + e of 64 is column 2t + 8u + e of product k.
      const int t = lane / 8, k = lane / 2 % 4, u = lane % 2;
#pragma unroll
      for (int box = 0; box < kTile.dim / 64; ++box) {
        *reinterpret_cast<std::uint32_t*>(shared + Layout::kQueriesAt + box * kTile.rows * 128 + swizzled_column(row, 16 * k + 8 * u + 2 * t)) =
            pack_pair(__half{}, pairs[box][0] * factor, pairs[box][1] * factor);
      }
    }
  }

  template <class Read>
  __device__ void score(float (&s)[kAccumulators], const char* keys, std::uint32_t queries, Read keys_read) const {
    std::uint32_t a[kTile.dim / 64][4][4];
#pragma unroll
    for (int box = 0; box < kTile.dim / 64; ++box) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = key(h), chunk = box % 2 * 4 + lane % 4;
        const uint4 features = *reinterpret_cast<const uint4*>(keys + box / 2 * Layout::kBoxBytes + swizzled_offset<8>(row, chunk));
        const std::uint32_t words[4] = {features.x, features.y, features.z, features.w};
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          a[box][k][h] = half_pair(words[k]);
          a[box][k][h + 2] = half_pair(words[k] >> 16);
        }
      }
    }
    keys_read();
    wgmma_hold(s);
#pragma unroll
    for (int i = 0; i < kTile.dim / 64 * 4; ++i) wgmma_hold(a[i / 4][i % 4]);
    wgmma_fence();
#pragma unroll
    for (int i = 0; i < kTile.dim / 64 * 4; ++i) {
      Product::rs(s, a[i / 4][i % 4], wgmma_k_major(queries + i / 4 * kTile.rows * 128 + 32 * (i % 4)), i > 0);
    }
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(s);
#pragma unroll
    for (int i = 0; i < kTile.dim / 64 * 4; ++i) wgmma_hold(a[i / 4][i % 4]);
  }

  template <class Read>
  __device__ void add(float (&o)[kFeatureTiles][kAccumulators], const char* values, std::uint32_t probabilities, Read values_read) const {
    std::uint32_t a[kFeatureTiles][4][4];
    const std::uint32_t from = shared_address(values);
#pragma unroll
    for (int m = 0; m < kFeatureTiles; ++m) {
#pragma unroll
      for (int k = 0; k < 4; k += 2) {
        std::uint32_t bytes[4];  // of keys in the order of their positions, eight from 8i on
        const int row = 16 * k + lane / 8 * 8 + spread(lane % 8), chunk = m % 2 * 4 + warp;
        ldmatrix_x4_transposed(bytes, from + m / 2 * Layout::kBoxBytes + swizzled_offset<8>(row, chunk));
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          a[m][k + i / 2][i % 2 * 2] = half_pair(__byte_perm(bytes[i], 0, 0x4420));
          a[m][k + i / 2][i % 2 * 2 + 1] = half_pair(__byte_perm(bytes[i], 0, 0x4431));
        }
      }
    }
    values_read();
#pragma unroll
    for (int m = 0; m < kFeatureTiles; ++m) {
      wgmma_hold(o[m]);
#pragma unroll
      for (int k = 0; k < 4; ++k) wgmma_hold(a[m][k]);
    }
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int m = 0; m < kFeatureTiles; ++m) Product::rs(o[m], a[m][k], wgmma_k_major(probabilities + 32 * k), true);
    }
    wgmma_commit();
    wgmma_wait<0>();
#pragma unroll
    for (int m = 0; m < kFeatureTiles; ++m) {
      wgmma_hold(o[m]);
#pragma unroll
      for (int k = 0; k < 4; ++k) wgmma_hold(a[m][k]);
    }
  }
};

}  // namespace attn::cuda
