#pragma once
// The two products of a tile, keys and values in 16 bits, both as they lie in shared memory:
//   Sᵀ [64 keys x rows] = K Qᵀ;  Oᵀ [features x rows] += Vᵀ Pᵀ
// Keys and features fill wgmma's M = 64 whatever the number of query rows is; with the rows as M, a group of 4 or 8 heads would leave nine tenths
// of each product idle and need accumulators for 64 rows. What it costs is that a row's probabilities are spread over all four warps: their
// maxima meet in shared memory, and so do the probabilities themselves, rows · 128 bytes a tile beside the 256 · dim of keys and values.

#include "cuda/common/wgmma_swapped.cuh"
#include "cuda/kernels/attention_decode/queries.cuh"

namespace attn::cuda {

template <class T, DecodeTile kTile>
struct Products16 {
  using Layout = DecodeLayout<kTile>;
  using Product = WgmmaSwapped<T, kTile.rows>;
  using Operand = T;                          // of queries and probabilities
  static constexpr bool kScaledRows = false;  // whether queries were multiplied by factors of their own
  static constexpr int kFeatureTiles = kTile.dim / 64, kAccumulators = kTile.rows / 2;

  int warp, lane;

  /// The key of the tile that accumulators 4n + 2h + {0, 1} of the scores belong to.
  __device__ int key(int h) const { return 16 * warp + 8 * h + lane / 4; }
  /// Where a key's probabilities lie.
  __device__ static int position(int key) { return key; }
  /// The feature that accumulators 4n + 2h + {0, 1} of feature tile m belong to.
  __device__ int feature(int m, int h) const { return 64 * m + 16 * warp + 8 * h + lane / 4; }

  __device__ static void store_queries(const DecodeTask& task, char* shared, int warp, int lane) {
    attn::cuda::store_queries<T, kTile>(task, shared + Layout::kQueriesAt, warp, lane);
  }

  /// `keys_read` is called when nothing reads the keys' stage any more.
  template <class Read>
  __device__ void score(float (&s)[kAccumulators], const char* keys, std::uint32_t queries, Read keys_read) const {
    wgmma_hold(s);
    wgmma_fence();
#pragma unroll
    for (int box = 0; box < kTile.dim / 64; ++box) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        Product::template ss<false>(s, wgmma_k_major(shared_address(keys) + box * Layout::kBoxBytes + 32 * k),
                                    wgmma_k_major(queries + box * kTile.rows * 128 + 32 * k), box + k > 0);
      }
    }
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(s);
    keys_read();
  }

  template <class Read>
  __device__ void add(float (&o)[kFeatureTiles][kAccumulators], const char* values, std::uint32_t probabilities, Read values_read) const {
#pragma unroll
    for (int m = 0; m < kFeatureTiles; ++m) wgmma_hold(o[m]);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kTile.kKeys / 16; ++k) {
#pragma unroll
      for (int m = 0; m < kFeatureTiles; ++m) {
        Product::template ss<true>(o[m], wgmma_n_major(shared_address(values) + m * Layout::kBoxBytes + 2048 * k, Layout::kBoxBytes),
                                   wgmma_k_major(probabilities + 32 * k), true);
      }
    }
    wgmma_commit();
    wgmma_wait<0>();
#pragma unroll
    for (int m = 0; m < kFeatureTiles; ++m) wgmma_hold(o[m]);
    values_read();
  }
};

}  // namespace attn::cuda
