#pragma once
// From a consumer's sums to out and lse.

#include "cuda/common/elements.cuh"
#include "cuda/kernels/attention/prefill_shared.cuh"
#include "cuda/kernels/attention/prefill_softmax.cuh"

namespace attn::cuda {

/// Four lanes in a row have four words each: word w of lane l goes to word l of lane w.
__device__ __forceinline__ void transpose_quad(std::uint32_t (&words)[4], int lane) {
#pragma unroll
  for (int step = 1; step <= 2; ++step) {
    const bool high = lane & step;
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const int low = step == 1 ? 2 * pair : pair, other = low + step;
      const std::uint32_t received = __shfl_xor_sync(kFullWarp, high ? words[low] : words[other], step);
      if (high) {
        words[low] = received;
      } else {
        words[other] = received;
      }
    }
  }
}

/// One row's outputs, of which each lane of a quad has the columns 8n + 2·pair + {0, 1}; written where `exists`, 16 bytes at a time.
template <class Out, int kChunks>
__device__ __forceinline__ void prefill_write(Out* row, const float (&o)[kChunks * 4], int half, float factor, bool empty, bool exists, bool vector, const AttentionProblem& p,
                                              int lane) {
  const int pair = lane % 4;
#pragma unroll
  for (int n = 0; n < kChunks; n += 4) {
    std::uint32_t words[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float low = o[4 * (n + i) + 2 * half] * factor, high = o[4 * (n + i) + 2 * half + 1] * factor;
        words[i] = empty ? 0 : pack_pair(Out(), low, high);  // what saw nothing may still hold 0 · NaN
      }
      transpose_quad(words, lane);
      const int first = 8 * (n + pair);
      if (!exists || first >= p.head_dim_vo) continue;
      if (vector) {
        *reinterpret_cast<uint4*>(row + first) = make_uint4(words[0], words[1], words[2], words[3]);
      } else {
        Out items[8];
        memcpy(items, words, sizeof(words));
        for (int d = 0; d < 8; ++d) row[(first + d) * p.out.dim_stride] = items[d];
      }
  }
}

/// `unit` is what a probability of 1 was in the sums, `value_scale` what values are multiplied by.
template <class T, int kCount, class Item>
__device__ __forceinline__ void prefill_store(const float (&o)[kCount], const PrefillRows& rows, const PrefillParams& params, const Item& item, float unit,
                                              float value_scale, int lane) {
  constexpr int kChunks = kCount / 4;
  const AttentionProblem& p = params.problem;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = rows.sum[half];
    total += __shfl_xor_sync(kFullWarp, total, 1);
    total += __shfl_xor_sync(kFullWarp, total, 2);
    total /= unit;
    const PrefillRow row = rows.find(params, item, half);
    const bool valid = row.exists && row.query < item.qo_len;
    // Rows of padding ignore the sink: they are nobody's.
    const RowResult result = valid ? finish_row(p, row.head, rows.max[half] * kPrefillLn2, total) : RowResult{0.0f, kNegInf};
    if (p.lse && row.exists && lane % 4 == 0) {
      p.lse[item.sequence * p.lse_sequence_stride + row.head * p.lse_head_stride + item.qo_begin + row.query] = result.lse;
    }
    const bool empty = !valid || total == 0;
    const float factor = result.factor / unit * value_scale;
    const std::int64_t offset = item.qo_row(p, p.out, row.query) + row.head * p.out.head_stride;
    if constexpr (sizeof(T) == 2) {
      prefill_write<T, kChunks>(reinterpret_cast<T*>(p.out.data) + offset, o, half, factor, empty, row.exists, params.vector_out, p, lane);
    } else if (p.out.dtype == DType::kBFloat16) {
      prefill_write<__nv_bfloat16, kChunks>(reinterpret_cast<__nv_bfloat16*>(p.out.data) + offset, o, half, factor, empty, row.exists, params.vector_out, p, lane);
    } else {
      prefill_write<__half, kChunks>(reinterpret_cast<__half*>(p.out.data) + offset, o, half, factor, empty, row.exists, params.vector_out, p, lane);
    }
  }
}

}  // namespace attn::cuda
