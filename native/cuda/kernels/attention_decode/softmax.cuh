#pragma once
// The state of the block's rows over the tiles: maximum (base 2) and sum, and the probabilities of a tile from its scores.
//
// A lane holds for two keys of the tile the scores of rows 8n + 2 · (lane % 4) + {0, 1}. A row's maximum is taken over the lanes of a warp by shuffles
// and over the four warps in shared memory; all lanes then keep it, and add up the probabilities of their own keys only.

#include "cuda/common/base2.cuh"
#include "cuda/common/cp_async.cuh"
#include "cuda/common/fence.cuh"
#include "cuda/common/mma.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/common/warp.cuh"
#include "cuda/common/warpgroup.cuh"
#include "cuda/kernels/attention/logit.cuh"
#include "cuda/kernels/attention_decode/queries.cuh"

namespace attn::cuda {

/// The barrier of the four warps that compute.
__device__ __forceinline__ void sync_consumers() { named_barrier_sync(1, 32 * DecodeTile::kConsumerWarps); }

/// What a row sees and how its logits bend; keys are counted from the split's first.
struct alignas(16) RowFacts {
  int from, to;
  float slope;     // base 2
  float diagonal;  // the key under the row's own query
};

template <DecodeTile kTile>
struct DecodeSoftmax {
  using Layout = DecodeLayout<kTile>;
  static constexpr int kRows = kTile.rows, kLaneRows = kRows / 4;

  const AttentionProblem& p;
  char* shared;
  int warp, lane;
  float max[kLaneRows], sum[kLaneRows] = {};

  __device__ DecodeSoftmax(const AttentionProblem& p, char* shared, int warp, int lane) : p(p), shared(shared), warp(warp), lane(lane) {
#pragma unroll
    for (float& x : max) x = kNegInf;
  }

  /// The row of entry r of `max` and `sum`.
  __device__ int row(int r) const { return r / 2 * 8 + lane % 4 * 2 + r % 2; }
  __device__ float* maxima(int w) const { return reinterpret_cast<float*>(shared + Layout::kMaximaAt) + w * kRows; }

  __device__ static void store_facts(const DecodeTask& task, char* shared, int row) {
    RowFacts facts{0, 0, 0, 0};
    if (row < task.num_rows) {
      const std::int64_t query = task.query_of(row);
      task.see(query, facts.from, facts.to);
      facts.slope = alibi_slope(task.p, task.span.index, task.head_of(row)) * kLog2e;
      facts.diagonal = static_cast<float>(query + task.span.kv_len - task.span.qo_len - task.first_key);
    }
    reinterpret_cast<RowFacts*>(shared + Layout::kFactsAt)[row] = facts;
  }

  /// Scores become logits (base 2), -inf where the row does not see the key. `edge`: some row does not see some key of the tile.
  template <bool kScaled>
  __device__ void bend(float (&s)[kRows / 2], int key0, int key1, float scale, bool edge) const {
    const bool bent = edge || p.alibi_slopes || p.logit_softcap > 0;
#pragma unroll
    for (int r = 0; r < kLaneRows; ++r) {
      float& x = s[r / 2 * 4 + r % 2];
      float& y = s[r / 2 * 4 + r % 2 + 2];
      const float row_scale = kScaled ? reinterpret_cast<const float*>(shared + Layout::kScalesAt)[row(r)] * scale : scale;
      if (!bent) {
        x *= row_scale;
        y *= row_scale;
        continue;
      }
      const RowFacts facts = reinterpret_cast<const RowFacts*>(shared + Layout::kFactsAt)[row(r)];
      x = logit(x, row_scale, facts, key0);
      y = logit(y, row_scale, facts, key1);
    }
  }

  __device__ float logit(float dot, float scale, const RowFacts& facts, int key) const {
    float x = dot * scale;
    // Not by 1 - 2 / (exp(2y) + 1), whose absolute error the cap would multiply.
    if (p.logit_softcap > 0) x = kLog2e * p.logit_softcap * tanhf(x / (kLog2e * p.logit_softcap));
    if (p.alibi_slopes) x -= facts.slope * fabsf(facts.diagonal - static_cast<float>(key));
    return key >= facts.from && key < facts.to ? x : kNegInf;
  }

  /// This warp's maxima of the tile, for all to read after sync_consumers().
  __device__ void store_maxima(const float (&s)[kRows / 2]) const {
#pragma unroll
    for (int n = 0; n < kRows / 8; ++n) {
      float2 top;
      top.x = fmaxf(s[4 * n], s[4 * n + 2]);  // a NaN loses
      top.y = fmaxf(s[4 * n + 1], s[4 * n + 3]);
#pragma unroll
      for (int step = 4; step < 32; step *= 2) {
        top.x = fmaxf(top.x, __shfl_xor_sync(kFullWarp, top.x, step));
        top.y = fmaxf(top.y, __shfl_xor_sync(kFullWarp, top.y, step));
      }
      if (lane < 4) *reinterpret_cast<float2*>(maxima(warp) + 8 * n + 2 * lane) = top;
    }
  }

  /// Logits become probabilities, in shared memory too; rows' sums move on, and what was summed before is multiplied by `factor`.
  /// Returns whether any factor is not 1.
  template <class T>
  __device__ bool exponentiate(float (&s)[kRows / 2], float (&factor)[kLaneRows]) {
    bool moved = false;
#pragma unroll
    for (int n = 0; n < kRows / 8; ++n) {
      float2 top = {max[2 * n], max[2 * n + 1]};
#pragma unroll
      for (int w = 0; w < kTile.kConsumerWarps; ++w) {
        const float2 other = *reinterpret_cast<const float2*>(maxima(w) + 8 * n + 2 * (lane % 4));
        top.x = fmaxf(top.x, other.x);
        top.y = fmaxf(top.y, other.y);
      }
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float now = e == 0 ? top.x : top.y, base = now == kNegInf ? 0.0f : now;  // while all logits are -inf the probabilities are 0
        float& x = s[4 * n + e];
        float& y = s[4 * n + e + 2];
        factor[2 * n + e] = exp2_approx(max[2 * n + e] - base);
        moved = moved || factor[2 * n + e] != 1;
        max[2 * n + e] = now;
        x = exp2_approx(x - base);
        y = exp2_approx(y - base);
        sum[2 * n + e] = sum[2 * n + e] * factor[2 * n + e] + (x + y);
      }
    }
    store_probabilities<T>(s);
    return moved;
  }

  /// As the right operand of the second product: [rows][64 keys], K-major with the 128-byte swizzle.
  template <class T>
  __device__ void store_probabilities(const float (&s)[kRows / 2]) const {
    const std::uint32_t to = shared_address(shared + Layout::kProbabilitiesAt);
    const int chunk = 2 * warp + lane / 8 % 2;  // of 8 keys
    if constexpr (kRows == 8) {
      stmatrix_x2_transposed(to + swizzled_offset<8>(lane % 8, chunk), pack_pair(T{}, s[0], s[1]), pack_pair(T{}, s[2], s[3]));
    } else {
#pragma unroll
      for (int n = 0; n < kRows / 8; n += 2) {
        stmatrix_x4_transposed(to + swizzled_offset<8>(8 * (n + lane / 16) + lane % 8, chunk), pack_pair(T{}, s[4 * n], s[4 * n + 1]),
                               pack_pair(T{}, s[4 * n + 2], s[4 * n + 3]), pack_pair(T{}, s[4 * n + 4], s[4 * n + 5]),
                               pack_pair(T{}, s[4 * n + 6], s[4 * n + 7]));
      }
    }
  }

  /// After the last tile, whose second barrier came after the last reads of the maxima: the whole sums, in every lane.
  __device__ void finish() {
#pragma unroll
    for (int n = 0; n < kRows / 8; ++n) {
      float2 total = {sum[2 * n], sum[2 * n + 1]};
#pragma unroll
      for (int step = 4; step < 32; step *= 2) {
        total.x += __shfl_xor_sync(kFullWarp, total.x, step);
        total.y += __shfl_xor_sync(kFullWarp, total.y, step);
      }
      if (lane < 4) *reinterpret_cast<float2*>(maxima(warp) + 8 * n + 2 * lane) = total;
    }
    sync_consumers();
#pragma unroll
    for (int r = 0; r < kLaneRows; ++r) sum[r] = (maxima(0)[row(r)] + maxima(1)[row(r)]) + (maxima(2)[row(r)] + maxima(3)[row(r)]);
  }
};

}  // namespace attn::cuda
