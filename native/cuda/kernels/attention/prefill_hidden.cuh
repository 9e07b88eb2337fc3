#pragma once
// Values that are not finite, of a step in which some rows do not see some keys: the cleaners took them out of shared memory.

#include "cuda/kernels/attention/prefill_cleaner.cuh"
#include "cuda/kernels/attention/prefill_softmax.cuh"

namespace attn::cuda {

/// Adds them, read once more from global memory, to the rows that see them, after all steps: nothing changes infinity and NaN any more. A weight is
/// positive, so it leaves them as they are too.
template <class T, int kKv, class Item, int kCount>
__device__ __forceinline__ void prefill_add_hidden(float (&o)[kCount], const PrefillParams& params, const Item& item, const PrefillRows& rows, int lane) {
  const AttentionProblem& p = params.problem;
  const int query[2] = {rows.find(params, item, 0).query, rows.find(params, item, 1).query};
#pragma unroll 1
  for (int j = item.begin; j < item.end; ++j) {
    if (!item.hides_values(j / kKv * kKv)) continue;
    const auto sees = [&](int i) { return j >= item.seen_begin(p, i) && j < item.seen_end(p, i); };
    const bool seen[2] = {sees(query[0]), sees(query[1])};
    const T* values = reinterpret_cast<const T*>(p.v.data) + item.kv_row(p, p.v, j) + item.kv_head * p.v.head_stride + lane % 4 * 2;
    // Two elements: half a word of float8_e4m3, whose other half is 0.
    using Word = std::conditional_t<sizeof(T) == 1, std::uint16_t, std::uint32_t>;
#pragma unroll
    for (int n = 0; n < kCount / 4; ++n) {
      if (8 * n >= p.head_dim_vo) continue;
      const std::uint32_t word = *reinterpret_cast<const Word*>(values + 8 * n), lost = word ^ keep_finite<T>(word);
      if (lost == 0) continue;
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float value;
        if constexpr (sizeof(T) == 1) {
          value = lost >> (8 * e) & 0xffu ? __uint_as_float(0x7fffffffu) : 0.0f;
        } else {
          T pair[2];
          memcpy(pair, &lost, sizeof(pair));
          value = to_float(pair[e]);
        }
        if (seen[0]) o[4 * n + e] += value;
        if (seen[1]) o[4 * n + 2 + e] += value;
      }
    }
  }
  __syncwarp();
}

}  // namespace attn::cuda
