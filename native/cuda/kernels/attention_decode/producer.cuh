#pragma once
// The copying warp of the decoding kernel: keys and values of the split into the ring, tile by tile, keys first.
//
// A tile that is seen as a whole comes in boxes of box_keys rows, a lane for each, which looks its page up. At the ends of what is seen rows come
// one by one, two for each lane, and rows that nobody sees come from outside the tensor: as zeros, which are not read from memory. So each byte
// that is seen is read once and no other is, and what the products meet is finite unless a seen value is not.

#include "cuda/common/mbarrier.cuh"
#include "cuda/common/tma.cuh"
#include "cuda/kernels/attention_decode/task.cuh"
#include "cuda/kernels/attention_decode/tiles.h"

namespace attn::cuda {

template <DecodeTile kTile>
struct DecodeProducer {
  using Layout = DecodeLayout<kTile>;

  const DecodeParams& params;
  const DecodeTask& task;
  std::uint32_t ring, full, empty;

  __device__ void run(int lane) const {
    RingPosition<kTile.stages> at;
    for (int key = task.begin / kTile.kKeys * kTile.kKeys; key < task.end; key += kTile.kKeys) {
      copy(params.keys, at, key, lane);
      copy(params.values, at, key, lane);
    }
  }

 private:
  struct Place {
    int row, sequence;
  };

  __device__ Place place_of(int key) const {
    const AttentionProblem& p = task.p;
    const std::uint32_t j = static_cast<std::uint32_t>(task.first_key) + static_cast<std::uint32_t>(key);
    if (!task.span.pages) return {static_cast<int>(task.span.kv_begin + j), p.kv_indptr ? 0 : static_cast<int>(task.span.index)};
    const std::uint32_t slot = j / static_cast<std::uint32_t>(p.page_size);
    int page = task.span.pages[slot];
    if (page < 0 || page >= p.num_pages) page = 0;
    return {static_cast<int>(j - slot * static_cast<std::uint32_t>(p.page_size)), page};
  }

  __device__ void copy(const DecodeMaps& maps, RingPosition<kTile.stages>& at, int key0, int lane) const {
    const std::uint32_t barrier = full + 8 * at.index, stage = ring + at.index * Layout::kTileBytes;
    mbarrier_wait(empty + 8 * at.index, at.parity ^ 1);
    if (lane == 0) mbarrier_arrive_expect_tx(barrier, Layout::kTileBytes);
    __syncwarp();
    const bool whole = key0 >= task.begin && key0 + kTile.kKeys <= task.end;
    const CUtensorMap& map = whole ? maps.boxes : maps.rows;
    const int keys = whole ? params.box_keys : 1;
    for (int row = lane * keys; row < kTile.kKeys; row += 32 * keys) {
      const int key = key0 + row;
      const bool seen = key >= task.begin && key < task.end;
      const Place place = seen ? place_of(key) : Place{0, -1};
#pragma unroll
      for (int box = 0; box < Layout::kBoxes; ++box) {
        tma_load(stage + box * Layout::kBoxBytes + row * kTile.kBoxRowBytes, map, barrier, box * Layout::kBoxFeatures, static_cast<int>(task.kv_head),
                 place.row, place.sequence);
      }
    }
    at.advance();
  }
};

}  // namespace attn::cuda
