#pragma once
// From a consumer's sums to out and lse.

#include "cuda/kernels/attention/prefill_shared.cuh"
#include "cuda/kernels/attention/prefill_softmax.cuh"

namespace attn::cuda {

/// Normalises, stages a warp's 16 rows where its queries were, and stores them 16 bytes at a time. `warp_rows` is the address of the warp's
/// first row in the first box; nobody else reads these rows, and this consumer's last product with them is over.
template <class T, PrefillShape kShape, class Item>
__device__ __forceinline__ void prefill_store(const float (&o)[PrefillShared<kShape>::kVo / 2], const PrefillRows& rows, const PrefillParams& params, const Item& item,
                                              std::uint32_t warp_rows, int lane) {
  using Shared = PrefillShared<kShape>;
  constexpr int kChunks = Shared::kVo / 8;
  const AttentionProblem& p = params.problem;
  const auto staged = [&](int r, int chunk) { return warp_rows + chunk / 8 * Shared::kQueryBox + r * kPrefillBoxBytes + ((chunk ^ r) & 7) * 16; };
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = rows.sum[half];
    total += __shfl_xor_sync(kFullWarp, total, 1);
    total += __shfl_xor_sync(kFullWarp, total, 2);
    const PrefillRow row = rows.find(params, item, half);
    const bool valid = row.exists && row.query < item.qo_len;
    // Rows of padding ignore the sink: they are nobody's.
    const RowResult result = valid ? finish_row(p, row.head, rows.max[half] * kPrefillLn2, total) : RowResult{0.0f, kNegInf};
    if (p.lse && row.exists && lane % 4 == 0) {
      p.lse[item.sequence * p.lse_sequence_stride + row.head * p.lse_head_stride + item.qo_begin + row.query] = result.lse;
    }
    const bool empty = !valid || total == 0;
    const int r = half * 8 + lane / 4;
#pragma unroll
    for (int n = 0; n < kChunks; ++n) {
      const float low = empty ? 0.0f : o[4 * n + 2 * half] * result.factor, high = empty ? 0.0f : o[4 * n + 2 * half + 1] * result.factor;
      asm volatile("st.shared.u32 [%0], %1;" ::"r"(staged(r, n) + lane % 4 * 4), "r"(pack_pair(T(), low, high)) : "memory");
    }
  }
  __syncwarp();
  const int warp_row = rows.first - lane / 4;
#pragma unroll 2
  for (int n = lane; n < 16 * kChunks; n += 32) {
    const int r = n / kChunks, chunk = n % kChunks;
    const PrefillRow row(params, item, warp_row + r);
    if (!row.exists || chunk * 8 >= p.head_dim_vo) continue;
    T* out = reinterpret_cast<T*>(p.out.data) + item.qo_row(p, p.out, row.query) + row.head * p.out.head_stride + chunk * 8 * p.out.dim_stride;
    uint4 words;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w) : "r"(staged(r, chunk)) : "memory");
    if (params.vector_out) {
      *reinterpret_cast<uint4*>(out) = words;
    } else {
      T items[8];
      memcpy(items, &words, sizeof(words));
      for (int d = 0; d < 8; ++d) out[d * p.out.dim_stride] = items[d];
    }
  }
  __syncwarp();
}

}  // namespace attn::cuda
