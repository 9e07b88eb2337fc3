#pragma once
// Values that are not finite, of a step in which some rows do not see some keys: the cleaners took them out of shared memory.

#include "cuda/kernels/attention/prefill_cleaner.cuh"
#include "cuda/kernels/attention/prefill_softmax.cuh"

namespace attn::cuda {

/// Adds them, read once more from global memory, to the rows that see them. A weight is positive, so it leaves infinity and NaN as they are.
template <class T, class Item, int kCount, int kKv>
__device__ __forceinline__ void prefill_add_hidden(float (&o)[kCount], const PrefillParams& params, const Item& item, const PrefillRows& rows, int first, int lane) {
  const AttentionProblem& p = params.problem;
  const int query[2] = {rows.find(params, item, 0).query, rows.find(params, item, 1).query};
#pragma unroll 1
  for (int j = max(first, item.begin); j < min(first + kKv, item.end); ++j) {
    const auto sees = [&](int i) { return j >= item.seen_begin(p, i) && j < item.seen_end(p, i); };
    const bool seen[2] = {sees(query[0]), sees(query[1])};
    const T* values = reinterpret_cast<const T*>(p.v.data) + item.kv_row(p, p.v, j) + item.kv_head * p.v.head_stride + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < kCount / 4; ++n) {
      if (8 * n >= p.head_dim_vo) continue;
      const std::uint32_t word = *reinterpret_cast<const std::uint32_t*>(values + 8 * n), lost = word ^ keep_finite<T>(word);
      if (lost == 0) continue;
      T pair[2];
      memcpy(pair, &lost, sizeof(pair));
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float value = to_float(pair[e]);
        if (seen[0]) o[4 * n + e] += value;
        if (seen[1]) o[4 * n + 2 + e] += value;
      }
    }
  }
  __syncwarp();
}

}  // namespace attn::cuda
