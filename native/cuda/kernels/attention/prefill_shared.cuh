#pragma once
// The shared memory of a prefill block and its barriers.
//   Q | K ring | V ring | barriers: boxes of rows of 128 or 64 bytes, swizzled as wide (wgmma.cuh), the boxes of one tile one after the other

#include "cuda/common/cp_async.cuh"
#include "cuda/common/fence.cuh"
#include "cuda/common/mbarrier.cuh"
#include "cuda/common/warpgroup.cuh"
#include "cuda/kernels/attention/prefill_params.h"

namespace attn::cuda {

/// Warps 1 to 3 of the producer's warpgroup clean values (prefill_cleaner.cuh).
inline constexpr int kCleaners = 3;

template <PrefillShape kDims>
struct PrefillShared {
  static constexpr PrefillShape kShape = kDims;
  static constexpr int kQk = kDims.head_dim_qk, kVo = kDims.head_dim_vo, kKv = kDims.tile_kv, kStages = kDims.stages, kRows = prefill_rows(kDims);
  static constexpr int kQkBoxes = prefill_boxes(kDims, kQk), kVoBoxes = prefill_boxes(kDims, kVo);
  static constexpr int kBoxBytes = kDims.box_bytes, kQueryBox = kRows * kBoxBytes, kKvBox = kKv * kBoxBytes;  // bytes from one box to the next
  static constexpr int kQueryBytes = prefill_query_bytes(kDims), kKeyBytes = prefill_key_bytes(kDims), kValueBytes = prefill_value_bytes(kDims);
  static constexpr int kTransposedBytes = prefill_transposed_bytes(kDims);
  static constexpr int kConsumerWarps = 4 * kDims.consumers, kThreads = prefill_threads(kDims);

  std::uint32_t q, k_ring, v_ring, t_ring, barriers;

  __device__ __forceinline__ explicit PrefillShared(const void* dynamic_shared) {
    q = (shared_address(dynamic_shared) + 1023) & ~1023u;
    k_ring = q + kQueryBytes;
    v_ring = k_ring + kStages * kKeyBytes;
    t_ring = v_ring + kStages * kValueBytes;
    barriers = t_ring + kStages * kTransposedBytes;
  }

  __device__ __forceinline__ std::uint32_t keys(int stage) const { return k_ring + stage * kKeyBytes; }
  __device__ __forceinline__ std::uint32_t values(int stage) const { return v_ring + stage * kValueBytes; }

  /// float8_e4m3 alone: the values of a stage, turned round.
  __device__ __forceinline__ std::uint32_t transposed(int stage) const { return t_ring + stage * kTransposedBytes; }

  __device__ __forceinline__ std::uint32_t q_full() const { return barriers; }
  __device__ __forceinline__ std::uint32_t q_empty() const { return barriers + 8; }
  __device__ __forceinline__ std::uint32_t k_full(int stage) const { return barriers + 16 + stage * 8; }
  __device__ __forceinline__ std::uint32_t k_empty(int stage) const { return barriers + 16 + (kStages + stage) * 8; }
  __device__ __forceinline__ std::uint32_t v_full(int stage) const { return barriers + 16 + (2 * kStages + stage) * 8; }
  __device__ __forceinline__ std::uint32_t v_empty(int stage) const { return barriers + 16 + (3 * kStages + stage) * 8; }
  __device__ __forceinline__ std::uint32_t v_clean(int stage) const { return barriers + 16 + (4 * kStages + stage) * 8; }
  __device__ __forceinline__ std::uint32_t t_empty(int stage) const { return barriers + 16 + (5 * kStages + stage) * 8; }
  /// Per cleaner: whether it met a value that is not finite.
  __device__ __forceinline__ std::uint32_t flag(int stage, int cleaner) const { return barriers + 16 + 6 * kStages * 8 + (stage * kCleaners + cleaner) * 4; }
  __device__ __forceinline__ bool found_hidden(int stage) const {
    int found = 0;
#pragma unroll
    for (int cleaner = 0; cleaner < kCleaners; ++cleaner) {
      int flagged;
      asm volatile("ld.shared.u32 %0, [%1];" : "=r"(flagged) : "r"(flag(stage, cleaner)) : "memory");
      found |= flagged;
    }
    return found != 0;
  }

  /// Rows of the query boxes that no query fills, where a group of heads does not divide the tile: zeros, once. By all threads, before the block's barrier.
  __device__ __forceinline__ void clear_rows_from(int first) const {
    const int bytes = (kRows - first) * kBoxBytes;
    if (bytes == 0) return;
    for (int box = 0; box < kQkBoxes; ++box) {
      const std::uint32_t rows = q + box * kQueryBox + first * kBoxBytes;
      for (int n = static_cast<int>(threadIdx.x) * 16; n < bytes; n += kThreads * 16) {
        asm volatile("st.shared.v4.u32 [%0], {%1, %1, %1, %1};" ::"r"(rows + n), "r"(0) : "memory");
      }
    }
    fence_async_shared();
  }

  /// By one thread, before the block's barrier.
  __device__ __forceinline__ void init_barriers() const {
    mbarrier_init(q_full(), 1);
    mbarrier_init(q_empty(), kConsumerWarps);
    for (int stage = 0; stage < kStages; ++stage) {
      mbarrier_init(k_full(stage), 1);
      mbarrier_init(k_empty(stage), kConsumerWarps);
      mbarrier_init(v_full(stage), 1);
      // Bytes are read by those alone who turn them round.
      mbarrier_init(v_empty(stage), kDims.element_bytes == 1 ? kCleaners : kConsumerWarps + kCleaners);
      mbarrier_init(v_clean(stage), kCleaners);
      if (kDims.element_bytes == 1) mbarrier_init(t_empty(stage), kConsumerWarps);
    }
    fence_barrier_init();
  }
};
static_assert(16 + 3 * (6 * 8 + kCleaners * 4) <= 256);

}  // namespace attn::cuda
