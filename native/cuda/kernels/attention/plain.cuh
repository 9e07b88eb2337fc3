#pragma once
// Attention for every problem: any dtypes, strides, dims, parts and options. Slow and simple, but exact softmax tile by tile:
//   s[j] = q · k[j];  p = exp(s - max);  O = O · exp(old max - max) + Σ p[j] v[j];  out = O / Σ p
// A warp owns one query row of one kv head's group and kPlainChunk value features; a lane owns one of 32 keys for the logits, then
// every 32nd feature for the values. Rows of a block share a kv head, so that its keys come from the L1 cache but once.
// At most 128 registers (4 blocks per multiprocessor), no spills. Shared memory: the queries as float32, 4 · kPlainRows · head_dim_qk
// bytes, or none where that is more than 48 KiB.
// Work per row: 2 · kv_len · (head_dim_qk · chunks + head_dim_vo) operations on CUDA cores, no tensor cores. Keys that a row does not
// see are not read.

#include <type_traits>

#include "cuda/common/elements.cuh"
#include "cuda/common/warp.cuh"
#include "cuda/kernels/attention/logit.cuh"
#include "cuda/kernels/attention/params.h"
#include "cuda/kernels/attention/span.cuh"

namespace attn::cuda {

template <class KV>
struct PlainRow {
  static constexpr int kFeatures = kPlainChunk / 32;  // per lane
  static constexpr int kVector = 16 / sizeof(KV);

  const AttentionPlainParams& params;
  const AttentionProblem& p;
  const Span& span;
  const float* queries;  // this warp's staged row
  std::int64_t kv_head, head, i;

  __device__ std::int64_t kv_offset(const HeadRows& rows, std::int64_t j) const { return span.kv_row(p, rows, j) + kv_head * rows.head_stride; }

  __device__ std::int64_t query_offset(const HeadRows& q) const { return span.qo_row(p, q, i) + head * q.head_stride; }

  __device__ float dot(std::int64_t j) const {
    float sum = 0;
    int first = 0;
    for (int part = 0; part < p.num_parts; ++part) {
      const HeadRows& q = p.q[part];
      const HeadRows& k = p.k[part];
      const KV* key = reinterpret_cast<const KV*>(k.data) + kv_offset(k, j);
      if (params.vector_keys && params.staged_queries) {
        for (int d = 0; d < k.dim; d += kVector) {
          alignas(16) KV piece[kVector];
          *reinterpret_cast<uint4*>(piece) = *reinterpret_cast<const uint4*>(key + d);
#pragma unroll
          for (int n = 0; n < kVector; ++n) sum = fmaf(queries[first + d + n], to_float(piece[n]), sum);
        }
      } else if (params.staged_queries) {
        for (int d = 0; d < k.dim; ++d) sum = fmaf(queries[first + d], to_float(key[d * k.dim_stride]), sum);
      } else {
        const std::int64_t row = query_offset(q);
        for (int d = 0; d < k.dim; ++d) sum = fmaf(load_element(q.data, q.dtype, row + d * q.dim_stride), to_float(key[d * k.dim_stride]), sum);
      }
      first += k.dim;
    }
    return sum;
  }

  /// Features [chunk · kPlainChunk, …) of the row; the first chunk's warp writes lse.
  __device__ void run(int lane, std::int64_t chunk) const {
    const int first = static_cast<int>(chunk * kPlainChunk);
    float acc[kFeatures] = {};
    float max = kNegInf, sum = 0;
    const bool valid = i < span.qo_len;
    const std::int64_t begin = span.seen_begin(p, i), end = valid ? span.seen_end(p, i) : 0;
    const float slope = alibi_slope(p, span.index, head);
    float dot_scale = 1, value_scale = 1;
    if constexpr (std::is_same_v<KV, e4m3>) {
      dot_scale = head_scale(p.q_scales, span.index, kv_head) * head_scale(p.k_scales, span.index, kv_head);
      value_scale = head_scale(p.v_scales, span.index, kv_head);
    }
    for (std::int64_t block = begin; block < end; block += 32) {
      const std::int64_t j = block + lane;
      const float logit = j < end ? bend_logit(p, dot(j) * dot_scale, slope, i + (span.kv_len - span.qo_len) - j) : kNegInf;
      const float moved = fmaxf(max, warp_max(logit));
      const float base = moved == kNegInf ? 0.0f : moved;
      const float probability = expf(logit - base);
      const float factor = moved > max ? expf(max - base) : 1.0f;
      sum = sum * factor + warp_sum(probability);
      max = moved;
#pragma unroll
      for (int f = 0; f < kFeatures; ++f) acc[f] *= factor;

      const std::int64_t value_row = kv_offset(p.v, min_of(j, end - 1));
      const int count = static_cast<int>(min_of(32, end - block));
      for (int t = 0; t < count; ++t) {
        const float weight = __shfl_sync(kFullWarp, probability, t);
        const KV* value = reinterpret_cast<const KV*>(p.v.data) + __shfl_sync(kFullWarp, value_row, t);
#pragma unroll
        for (int f = 0; f < kFeatures; ++f) {
          const int d = first + f * 32 + lane;
          if (d < p.head_dim_vo) acc[f] = fmaf(weight, to_float(value[d * p.v.dim_stride]), acc[f]);
        }
      }
    }

    // Rows of padding ignore the sink: they are nobody's.
    const RowResult result = valid ? finish_row(p, head, max, sum) : RowResult{0.0f, kNegInf};
    const std::int64_t out = span.qo_row(p, p.out, i) + head * p.out.head_stride;
#pragma unroll
    for (int f = 0; f < kFeatures; ++f) {
      const int d = first + f * 32 + lane;
      // A state of nothing may still hold 0 · NaN.
      if (d < p.head_dim_vo) store_element(p.out.data, p.out.dtype, out + d * p.out.dim_stride, sum == 0 ? 0.0f : acc[f] * result.factor * value_scale);
    }
    if (p.lse && chunk == 0 && lane == 0) p.lse[span.lse_row(p, head, i)] = result.lse;
  }
};

template <class KV>
__device__ __forceinline__ void attention_plain(const AttentionPlainParams& params) {
  extern __shared__ __align__(128) char dynamic_shared[];
  const AttentionProblem& p = params.problem;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float* queries = reinterpret_cast<float*>(dynamic_shared) + warp * plain_query_stride(p.head_dim_qk);
  for (std::int64_t item = blockIdx.x; item < params.num_work_items; item += gridDim.x) {
    const std::int64_t tile = item % params.num_row_tiles;
    const std::int64_t chunk = item / params.num_row_tiles % params.num_chunks;
    const std::int64_t sequence_head = item / params.num_row_tiles / params.num_chunks;
    const Span span(p, sequence_head / p.num_kv_heads);
    const std::int64_t row = tile * kPlainRows + warp;
    if (row >= span.qo_rows * p.group_size) continue;
    const std::int64_t kv_head = sequence_head % p.num_kv_heads;
    const PlainRow<KV> work{params, p, span, queries, kv_head, kv_head * p.group_size + row % p.group_size, row / p.group_size};
    if (params.staged_queries) {
      __syncwarp();  // lanes may still read the row before
      int first = 0;
      for (int part = 0; part < p.num_parts; ++part) {
        const HeadRows& q = p.q[part];
        const std::int64_t offset = work.query_offset(q);
        for (int d = lane; d < q.dim; d += 32) queries[first + d] = load_element(q.data, q.dtype, offset + d * q.dim_stride);
        first += q.dim;
      }
      __syncwarp();
    }
    work.run(lane, chunk);
  }
}

}  // namespace attn::cuda
