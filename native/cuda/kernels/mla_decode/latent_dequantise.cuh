#pragma once
// Fills the ring of the sm_90a kernel from rows of 656 bytes (core/latent_row.h): each stage's two warps read elements and scales into registers,
// multiply in float32, round to bfloat16, and leave boxes as TMA would. Half a latent at a time, so that each half goes as soon as its part
// of the stage is free; reads do not wait for it. Rows behind the end become zeros and are not read.
//
// A thread reads 16 elements of a row at once and writes two chunks: eight threads write the even chunks of two neighbouring rows, then the odd
// ones, which the swizzle puts into different banks.

#include <cuda_fp8.h>

#include "core/latent_row.h"
#include "cuda/common/fence.cuh"
#include "cuda/common/mbarrier.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/common/warpgroup.cuh"
#include "cuda/kernels/mla_decode/latent_hidden.cuh"

namespace attn::cuda {

class LatentDequantiser {
  static constexpr int kPairThreads = LatentTile::producers / LatentTile::stages;
  static constexpr int kRowThreads = 4;                                  // share the 64 elements of a box row
  static constexpr int kRowsAtOnce = kPairThreads / kRowThreads;         // 16
  static constexpr int kRows = LatentTile::keys / kRowsAtOnce;           // of a thread
  static constexpr int kNoRow = -1;  // behind the end
  static constexpr int kGroupBoxes = LatentRow::kGroupDim / LatentTile::box_features;

 public:
  __device__ LatentDequantiser(const LatentParams& params, LatentShared shared)
      : p_(params.split.problem), shared_(shared), stage_(static_cast<int>(threadIdx.x) / kPairThreads), thread_(threadIdx.x % kPairThreads) {}

  __device__ void run(const LatentWork& work, int& block) {
    for (int n = 0; n < work.num_blocks; ++n, ++block) {
      if (block % LatentTile::stages == stage_) fill(work, work.first_key + n * LatentTile::keys, block / LatentTile::stages % 2);
    }
  }

 private:
  __device__ int row(int n) const { return n * kRowsAtOnce + thread_ / kRowThreads; }

  __device__ void fill(const LatentWork& work, int first, int parity) const {
    int rows[kRows];
#pragma unroll
    for (int n = 0; n < kRows; ++n) {
      const int key = first + row(n);
      rows[n] = key < work.end ? slot_of(work, key) : kNoRow;
    }
    copy_rope(rows, parity);
#pragma unroll 1
    for (int half = 0; half < 2; ++half) {
#pragma unroll 1
      for (int n = 0; n < LatentTile::half_boxes; ++n) fill_box(rows, half, half * LatentTile::half_boxes + n, n == 0 ? parity : -1);
      publish(half * LatentTile::half_boxes, LatentTile::half_boxes);
    }
  }

  __device__ void fill_box(const int (&rows)[kRows], int half, int box, int wait_parity) const {
    uint4 in[kRows];
    float scale[kRows];
#pragma unroll
    for (int n = 0; n < kRows; ++n) {
      in[n] = load_row(rows[n], box * LatentTile::box_features + thread_ % kRowThreads * 16);
      scale[n] = rows[n] == kNoRow ? 0 : reinterpret_cast<const float*>(address(rows[n]) + LatentRow::kScalesAt)[box / kGroupBoxes];
    }
    if (wait_parity >= 0) mbarrier_wait(shared_.empty(stage_, half), wait_parity ^ 1);
    const std::uint32_t even = shared_.latents(stage_, box) + chunk_offset(0), odd = shared_.latents(stage_, box) + chunk_offset(1);
#pragma unroll
    for (int n = 0; n < kRows; ++n) {
      const uint4 x = in[n];
      const int at = n * kRowsAtOnce * 128;
      store_chunk(even + at, uint4{pair(x.x, 0, scale[n]), pair(x.x, 1, scale[n]), pair(x.y, 0, scale[n]), pair(x.y, 1, scale[n])});
      store_chunk(odd + at, uint4{pair(x.z, 0, scale[n]), pair(x.z, 1, scale[n]), pair(x.w, 0, scale[n]), pair(x.w, 1, scale[n])});
    }
  }

  /// Of this thread's even or odd chunk in the first of its rows; the swizzle repeats every eight rows.
  __device__ std::uint32_t chunk_offset(int odd) const { return box_offset(thread_ / kRowThreads, thread_ % kRowThreads * 2 + odd); }

  __device__ void copy_rope(const int (&rows)[kRows], int parity) const {
    uint4 in[kRows][2];
#pragma unroll
    for (int n = 0; n < kRows; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) in[n][i] = load_row(rows[n], LatentRow::kRopeAt + (thread_ % kRowThreads * 2 + i) * 16);
    }
    mbarrier_wait(shared_.empty(stage_, 2), parity ^ 1);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int n = 0; n < kRows; ++n) {
        store_chunk(shared_.latents(stage_, LatentTile::rope_box) + chunk_offset(i) + n * kRowsAtOnce * 128, in[n][i]);
      }
    }
    publish(LatentTile::rope_box, 1);
  }

  /// Row of the whole cache, in 32 bits: registers are few. A page entry that names no page reads page 0, as on the CPU.
  __device__ int slot_of(const LatentWork& work, int key) const {
    const int slot = key / p_.page_size;
    const int page = work.s.pages[slot];
    return (page < 0 || page >= p_.num_pages ? 0 : page) * p_.page_size + key - slot * p_.page_size;
  }

  __device__ const std::byte* address(int row) const { return p_.k[0].data + static_cast<std::int64_t>(row) * LatentRow::kBytes; }

  __device__ uint4 load_row(int row, int at) const { return row == kNoRow ? uint4{} : *reinterpret_cast<const uint4*>(address(row) + at); }

  /// Elements 2 · which and the one behind it of four, times the scale, as bfloat16.
  __device__ static std::uint32_t pair(std::uint32_t four, int which, float scale) {
    const __half2 two(__nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(four >> 16 * which), __NV_E4M3));
    return pack_pair(__nv_bfloat16{}, __low2float(two) * scale, __high2float(two) * scale);
  }

  /// What both warps wrote is there for wgmma.
  __device__ void publish(int box, int count) const {
    fence_async_shared();
    __syncwarp();
    named_barrier_sync(kProducersBarrier + stage_, kPairThreads);
    if (thread_ == 0) {
      for (int n = 0; n < count; ++n) mbarrier_arrive(shared_.full(stage_, box + n));
    }
  }

  const AttentionProblem& p_;
  const LatentShared shared_;
  const int stage_, thread_;
};

}  // namespace attn::cuda
