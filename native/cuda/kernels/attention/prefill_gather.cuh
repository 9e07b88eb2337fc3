#pragma once
// Keys and values of pages that are no whole boxes: one warp gathers them row by row with cp.async, into the places where TMA would put them.
// Eight lanes copy the 128 bytes of a row in a box, or four its 64, 16 bytes each, to the places of wgmma.cuh's swizzle.
// Rows behind the last that a query of the tile sees, and features that the head does not have, become zeros that are not read.
//
// cp.async writes by the generic proxy, wgmma reads by the async one: a lane waits for its copies, fences, and then a barrier may say that they are there.
// To wait for a tile at once would leave one on its way at a time. So a tile is announced when the next one is under way, or when the warp has to wait
// for room: all that consumers could wait for has been announced by then.

#include "cuda/common/elements.cuh"
#include "cuda/common/warp.cuh"
#include "cuda/kernels/attention/prefill_producer.cuh"

namespace attn::cuda {

template <PrefillShape kShape>
struct PrefillGather {
  using Shared = PrefillShared<kShape>;
  using Item = PrefillItem<Shared::kKv>;
  static constexpr int kKv = Shared::kKv, kLooks = (kKv + 31) / 32;
  static constexpr int kBoxBytes = Shared::kBoxBytes, kChunks = kBoxBytes / 16, kRowsAtOnce = 32 / kChunks;

  const PrefillParams& params;
  const Shared& shared;
  int lane;
  std::uint32_t pending = 0;  // what to announce when the copies on their way are there, 0: none are
  unsigned pages[kLooks];     // of this lane's keys, 32 apart; of those behind the last any page

  __device__ __forceinline__ bool leads() const { return lane == 0; }

  __device__ __forceinline__ void await(std::uint32_t barrier, int parity) {
    if (pending != 0 && !__all_sync(kFullWarp, mbarrier_test_wait(barrier, parity))) finish();
    mbarrier_wait(barrier, parity);
  }

  /// Reads the table before there is room for the rows.
  __device__ __forceinline__ void look_up(const Item& item, int first) {
#pragma unroll
    for (int n = 0; n < kLooks; ++n) {
      const int j = first + n * 32 + own_row();
      pages[n] = j < item.end ? static_cast<unsigned>(item.page_of(params.problem, j)) : 0;
    }
  }

  __device__ __forceinline__ void load_keys(const Item& item, int first, int stage) {
    std::uint32_t to = shared.keys(stage);
#pragma unroll
    for (int part = 0; part < kPrefillParts<kShape>; ++part) {
      load<Shared::kQkBoxes>(item, params.problem.k[part], to, kPrefillParts<kShape> == 1 ? Shared::kQkBoxes : params.boxes[part], first);
      to += params.boxes[part] * Shared::kKvBox;
    }
    started(shared.k_full(stage));
  }

  __device__ __forceinline__ void load_values(const Item& item, int first, int stage) {
    load<Shared::kVoBoxes>(item, params.problem.v, shared.values(stage), Shared::kVoBoxes, first);
    started(shared.v_full(stage));
  }

  /// Announces what is on its way.
  __device__ __forceinline__ void finish() {
    if (pending != 0) announce<0>();
    pending = 0;
  }

 private:
  __device__ __forceinline__ void started(std::uint32_t full) {
    cp_async_commit();
    if (pending != 0) announce<1>();
    pending = full;
  }

  /// Of all copies but those of the last kUnderWay tiles.
  template <int kUnderWay>
  __device__ __forceinline__ void announce() const {
    cp_async_wait<kUnderWay>();
    fence_async_shared();
    __syncwarp();
    if (lane == 0) mbarrier_arrive(pending);
  }

  /// kBoxes: at least as many as `boxes`. A loop that turns the pages round takes fewer registers than its steps one after the other.
  template <int kBoxes>
  __device__ __forceinline__ void load(const Item& item, const HeadRows& rows, std::uint32_t to, int boxes, int first) {
    const int row = lane / kChunks, chunk = lane % kChunks, pattern = row * kBoxBytes / 128, bytes = rows.dim * kShape.element_bytes - chunk * 16;
#pragma unroll 1
    for (int n = 0; n < kLooks * 32; n += 32) {
      const unsigned within = static_cast<unsigned>(first + n + own_row()) % static_cast<unsigned>(params.problem.page_size);
      const std::byte* own = rows.data + (pages[0] * rows.sequence_stride + within * rows.row_stride + item.kv_head * rows.head_stride) * kShape.element_bytes;
      turn_pages();
      const int seen = item.end - (first + n + row);
      const std::uint32_t target = to + (n + row) * kBoxBytes;
#pragma unroll
      for (int r = 0; r < 32; r += kRowsAtOnce) {
        if (kKv % 32 != 0 && n + r >= kKv) break;
        const auto from = reinterpret_cast<const std::byte*>(__shfl_sync(kFullWarp, reinterpret_cast<unsigned long long>(own), r / kRowsAtOnce, kChunks)) + chunk * 16;
#pragma unroll
        for (int box = 0; box < kBoxes; ++box) {
          if (box >= boxes) continue;
          const bool exists = r < seen && box * kBoxBytes < bytes;
          cp_async_16(target + box * Shared::kKvBox + r * kBoxBytes + (chunk ^ pattern ^ r * kBoxBytes / 128 % kChunks) * 16, from + box * kBoxBytes, exists);
        }
      }
    }
  }

  /// Of 32 rows, the one that this lane finds: lanes that copy a row have it from one of them, their next row from the next.
  __device__ __forceinline__ int own_row() const { return lane % kChunks * kRowsAtOnce + lane / kChunks; }

  __device__ __forceinline__ void turn_pages() {
    const unsigned page = pages[0];
#pragma unroll
    for (int n = 1; n < kLooks; ++n) pages[n - 1] = pages[n];
    pages[kLooks - 1] = page;
  }
};

}  // namespace attn::cuda
