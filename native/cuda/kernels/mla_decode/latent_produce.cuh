#pragma once
// Fills the ring of the sm_90a kernel. Each stage has two warps of its own: whole tiles of a page one thread copies box by box by TMA, as soon
// as the part of the stage is free; the last keys, and pages that are not whole tiles, both warps copy row by row, zeros behind the end.

#include "cuda/common/elements.cuh"
#include "cuda/common/fence.cuh"
#include "cuda/common/mbarrier.cuh"
#include "cuda/common/tma.cuh"
#include "cuda/common/warpgroup.cuh"
#include "cuda/kernels/mla_decode/latent_work.cuh"

namespace attn::cuda {

template <class T>
class LatentProducer {
  static constexpr int kPairThreads = LatentTile::producers / LatentTile::stages;
  static constexpr int kRowsAtOnce = kPairThreads / 8, kRows = LatentTile::keys / kRowsAtOnce;

 public:
  __device__ LatentProducer(const LatentParams& params, LatentShared shared)
      : params_(params), p_(params.split.problem), shared_(shared), stage_(static_cast<int>(threadIdx.x) / kPairThreads), thread_(threadIdx.x % kPairThreads) {}

  /// `block` counts the tiles of the ring, of all work so far.
  __device__ void run(const LatentWork& work, int& block) {
    for (int n = 0; n < work.num_blocks; ++n, ++block) {
      if (block % LatentTile::stages != stage_) continue;
      const int first = work.first_key + n * LatentTile::keys, parity = block / LatentTile::stages % 2;
      if (params_.tma && first + LatentTile::keys <= work.end) {
        if (thread_ == 0) copy_boxes(work, first, parity);
      } else {
        copy_rows(work, first, parity);
      }
    }
  }

 private:
  /// Rope first: its box is free first, and the scores begin with it.
  __device__ void copy_boxes(const LatentWork& work, int first, int parity) const {
    int row = first;
    std::int64_t page = work.s.index;
    if (work.s.pages) {
      const int slot = first / params_.rows_per_page;
      page = work.s.pages[slot];
      if (page < 0 || page >= p_.num_pages) page = 0;
      row = first - slot * params_.rows_per_page;
    }
    wait_empty(2, parity);
    copy_box(LatentTile::rope_box, row, static_cast<int>(page));
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      wait_empty(half, parity);
#pragma unroll
      for (int n = 0; n < LatentTile::half_boxes; ++n) copy_box(half * LatentTile::half_boxes + n, row, static_cast<int>(page));
    }
  }

  __device__ void wait_empty(int part, int parity) const { mbarrier_wait(shared_.empty(stage_, part), parity ^ 1); }

  __device__ void copy_box(int box, int row, int page) const {
    const std::uint32_t full = shared_.full(stage_, box);
    mbarrier_arrive_expect_tx(full, LatentTile::box_bytes);
    // Read by one row tile only, latents need not stay in L2.
    const std::uint64_t policy = params_.split.row_tiles == 1 ? kEvictFirst : kEvictNormal;
    tma_load_hinted(shared_.latents(stage_, box), params_.latents, full, policy, box * LatentTile::box_features, row, page, 0);
  }

  __device__ void copy_rows(const LatentWork& work, int first, int parity) const {
    if (thread_ == 0) {
      for (int part = 0; part < 3; ++part) wait_empty(part, parity);
    }
    pair_barrier();
    const T* latents = reinterpret_cast<const T*>(p_.k[0].data);
    const T* rows[kRows];
    bool read[kRows];
#pragma unroll
    for (int n = 0; n < kRows; ++n) {
      const int key = first + n * kRowsAtOnce + thread_ / 8;
      read[n] = key < work.end;
      rows[n] = latents + (read[n] ? work.s.kv_row(p_, p_.k[0], key) : 0) + thread_ % 8 * 8;
    }
#pragma unroll 1
    for (int box = 0; box < LatentTile::boxes; ++box) {
#pragma unroll
      for (int n = 0; n < kRows; ++n) {
        const std::uint32_t to = shared_.latents(stage_, box) + box_offset(n * kRowsAtOnce + thread_ / 8, thread_ % 8);
        cp_async_16(to, read[n] ? rows[n] + box * LatentTile::box_features : latents, read[n]);
      }
    }
    cp_async_commit();
    cp_async_wait<0>();
    fence_async_shared();
    pair_barrier();
    if (thread_ == 0) {
      for (int box = 0; box < LatentTile::boxes; ++box) mbarrier_arrive(shared_.full(stage_, box));
    }
  }

  __device__ void pair_barrier() const {
    __syncwarp();
    named_barrier_sync(kProducersBarrier + stage_, kPairThreads);
  }

  const LatentParams& params_;
  const AttentionProblem& p_;
  const LatentShared shared_;
  const int stage_, thread_;
};

}  // namespace attn::cuda
