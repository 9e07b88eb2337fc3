#pragma once
// Softmax of one consumer's scores in wgmma's accumulators: each thread has two rows, and of them the columns 8n + 2·pair + {0, 1}.

#include "cuda/common/pack.cuh"
#include "cuda/common/warp.cuh"
#include "cuda/kernels/attention/logit.cuh"
#include "cuda/kernels/attention/prefill_schedule.cuh"

namespace attn::cuda {

inline constexpr float kPrefillLog2E = 1.4426950408889634f, kPrefillLn2 = 0.6931471805599453f;

/// 2^x; 0 for -inf. PTX ISA, "ex2": 2 ulp.
__device__ __forceinline__ float prefill_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// softcap · tanh(x / softcap), without a branch: lanes that part here would have to meet again before the next product. tanh(y) = 1 - 2 / (e^2y + 1),
/// good to 2^-22 of the cap itself. `rate` is 2 · log2(e) / softcap.
__device__ __forceinline__ float prefill_softcap(float x, float softcap, float rate) {
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(prefill_exp2(x * rate) + 1));
  return fmaf(-2 * softcap, inverse, softcap);
}

/// A row of the tile: which query of the sequence, and which query head. Found again where it is needed, as registers are scarce.
struct PrefillRow {
  int query, head;
  bool exists;

  template <class Item>
  __device__ __forceinline__ PrefillRow(const PrefillParams& params, const Item& item, int row) {
    const unsigned group = static_cast<unsigned>(params.problem.group_size), i = static_cast<unsigned>(row) / group;
    query = item.first_query + static_cast<int>(i);
    head = item.kv_head * params.problem.group_size + static_cast<int>(static_cast<unsigned>(row) - i * group);
    exists = static_cast<int>(i) < params.queries && query < item.qo_rows;
  }
};

/// The state of this thread's two rows, 8 apart.
struct PrefillRows {
  int first;                                // of the tile
  float max[2] = {kNegInf, kNegInf};        // in base 2 and scaled
  float sum[2] = {0.0f, 0.0f};              // of this lane's columns

  /// The compiler must not know it for what it knows already: it would find queries and heads but once, and keep them in registers all along.
  template <class Item>
  __device__ __forceinline__ PrefillRow find(const PrefillParams& params, const Item& item, int half) const {
    int row = first + half * 8;
    asm volatile("" : "+r"(row));
    return PrefillRow(params, item, row);
  }
};

/// Logits in base 2, for problems that do more than scale: softcap, ALiBi, a scale that is not positive.
template <class Item, int kCount>
__device__ __forceinline__ void prefill_bend(float (&s)[kCount], const PrefillParams& params, const Item& item, const PrefillRows& rows, int first, float scale, int lane) {
  const AttentionProblem& p = params.problem;
  const float softcap_rate = 2 * kPrefillLog2E / p.logit_softcap;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const PrefillRow row = rows.find(params, item, half);
    const float slope = p.alibi_slopes && row.exists ? alibi_slope(p, item.sequence, row.head) : 0.0f;
    const float distance = static_cast<float>(row.query + (item.kv_len - item.qo_len) - first - lane % 4 * 2);
#pragma unroll
    for (int n = 0; n < kCount / 4; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float x = s[4 * n + 2 * half + e] * scale;
        if (p.logit_softcap > 0) x = prefill_softcap(x, p.logit_softcap, softcap_rate);
        x -= slope * fabsf(distance - static_cast<float>(8 * n + e));
        s[4 * n + 2 * half + e] = x * kPrefillLog2E;
      }
    }
  }
}

/// Keys that a row does not see, of those from `first`.
template <class Item, int kCount>
__device__ __forceinline__ void prefill_mask(float (&s)[kCount], const PrefillParams& params, const Item& item, const PrefillRows& rows, int first, int lane) {
  const AttentionProblem& p = params.problem;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = rows.find(params, item, half).query, origin = first + lane % 4 * 2;
    const int begin = item.seen_begin(p, query) - origin, end = item.seen_end(p, query) - origin;
#pragma unroll
    for (int n = 0; n < kCount / 4; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        if (8 * n + e < begin || 8 * n + e >= end) s[4 * n + 2 * half + e] = kNegInf;
      }
    }
  }
}

/// s becomes probabilities times 2^kOffset, rows' maxima and sums move on; `factor` is what earlier sums and outputs are multiplied by. True when any is not 1.
template <int kOffset, int kCount>
__device__ __forceinline__ bool prefill_softmax(float (&s)[kCount], PrefillRows& rows, float scale, float (&factor)[2]) {
  bool moved = false;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = kNegInf;
#pragma unroll
    for (int n = 0; n < kCount / 4; ++n) top = fmaxf(top, fmaxf(s[4 * n + 2 * half], s[4 * n + 2 * half + 1]));
    top = fmaxf(top, __shfl_xor_sync(kFullWarp, top, 1));
    top = fmaxf(top, __shfl_xor_sync(kFullWarp, top, 2)) * scale;
    const bool higher = top > rows.max[half];
    const float before = rows.max[half];
    if (higher) rows.max[half] = top;
    const float base = rows.max[half] == kNegInf ? 0.0f : rows.max[half], shift = base - kOffset;
    factor[half] = higher ? prefill_exp2(before - base) : 1.0f;
    moved |= higher;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < kCount / 4; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& x = s[4 * n + 2 * half + e];
        x = prefill_exp2(fmaf(x, scale, -shift));
        sum += x;
      }
    }
    rows.sum[half] = rows.sum[half] * factor[half] + sum;
  }
  return __any_sync(kFullWarp, moved);
}

/// Scores to probabilities times 2^kOffset, `scale` the factor of the logits; returns whether earlier sums change.
template <int kOffset, class Item, int kCount>
__device__ __forceinline__ bool prefill_weigh(float (&s)[kCount], PrefillRows& rows, const PrefillParams& params, const Item& item, int first, float scale,
                                              float (&factor)[2], int lane) {
  const AttentionProblem& p = params.problem;
  const bool bent = p.logit_softcap > 0 || p.alibi_slopes || !(scale > 0);
  if (bent) prefill_bend(s, params, item, rows, first, scale, lane);
  if (item.is_edge(first)) prefill_mask(s, params, item, rows, first, lane);
  return prefill_softmax<kOffset>(s, rows, bent ? 1.0f : scale * kPrefillLog2E, factor);
}

/// The probabilities as the A operand of the product with the values.
template <class T, int kCount>
__device__ __forceinline__ void prefill_pack(std::uint32_t (&p)[kCount / 2], const float (&s)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount / 2; ++i) p[i] = pack_pair(T(), s[2 * i], s[2 * i + 1]);
}

}  // namespace attn::cuda
