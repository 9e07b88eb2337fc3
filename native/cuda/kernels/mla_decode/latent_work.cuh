#pragma once
// Which rows and keys a block of the sm_90a kernel takes, and its shared memory.

#include "cuda/common/cp_async.cuh"
#include "cuda/kernels/attention/span.cuh"
#include "cuda/kernels/mla_decode/latent_params.h"
#include "cuda/kernels/mla_decode/latent_tile.h"

namespace attn::cuda {

/// One row tile over one piece of a sequence's keys: what a block walks at a time, in as few registers as say it.
struct LatentTask {
  int sequence, tile, piece;  // `piece` of all partial results
  int first, last;            // keys, before they end with the sequence
};

/// What follows from it: the same for all threads of a block.
struct LatentWork {
  Span s;
  std::int64_t first_row;  // of the sequence's rows i · group_size + head
  std::int64_t state_row;  // where its partial results begin
  int num_rows;
  int first_key, end;  // keys that any row sees
  int common_end;      // keys from first_key that every row sees end here
  int num_blocks;      // of LatentTile::keys keys; 0: nothing is seen
  bool whole;          // the sequence is not cut: the results are those of out

  __device__ LatentWork(const LatentParams& params, const LatentTask& task) : s(params.split.problem, task.sequence) {
    const AttentionProblem& p = params.split.problem;
    first_row = static_cast<std::int64_t>(task.tile) * LatentTile::rows;
    state_row = task.piece * params.split.max_rows + first_row;
    num_rows = static_cast<int>(max_of(min_of(s.qo_len * p.group_size - first_row, LatentTile::rows), 0));
    const std::int64_t last = min_of(task.last, s.kv_len);
    first_key = static_cast<int>(min_of(task.first, s.kv_len));
    end = common_end = first_key;
    num_blocks = 0;
    const std::int32_t* pieces = params.split.first_pieces;
    whole = pieces ? pieces[task.sequence + 1] - pieces[task.sequence] == 1 : s.kv_len <= params.split.split_len;
    if (num_rows == 0) return;
    common_end = static_cast<int>(min_of(s.seen_end(p, first_row / p.group_size), last));
    end = static_cast<int>(min_of(s.seen_end(p, (first_row + num_rows - 1) / p.group_size), last));
    if (end > first_key) num_blocks = (end - first_key + LatentTile::keys - 1) / LatentTile::keys;
  }

  /// Without a plan nobody asks for the results of splits behind the end.
  __device__ bool wanted(const LatentParams& params, const LatentTask& task) const { return num_rows > 0 && (params.pieces || task.first < s.kv_len); }
};

/// Calls run(task) for each task of this block. Row tiles innermost: those of one piece run side by side and find its latents in the L2 cache.
template <class Run>
__device__ __forceinline__ void for_each_task(const LatentParams& params, Run run) {
  const int tile = static_cast<int>(blockIdx.x % params.split.row_tiles), part = static_cast<int>(blockIdx.x / params.split.row_tiles);
  const int begin = params.pieces ? params.part_begins[part] : part, end = params.pieces ? params.part_begins[part + 1] : part + 1;
  for (int n = begin; n < end; ++n) {
    LatentTask task{0, tile, n};
    if (params.pieces) {
      const LatentPiece piece = params.pieces[n];
      task.sequence = piece.sequence;
      task.first = piece.first_tile * LatentTile::keys;
      task.last = piece.end_tile == LatentPiece::kOpen ? LatentPiece::kOpen : piece.end_tile * LatentTile::keys;
    } else {
      task.sequence = n / params.split.num_splits;
      task.first = n % params.split.num_splits * params.split.split_len;
      task.last = task.first + params.split.split_len;
    }
    run(task);
  }
}

/// Addresses of what LatentTile says.
struct LatentShared {
  std::uint32_t base;

  __device__ explicit LatentShared(const void* memory) : base(shared_address(memory)) {}

  __device__ std::uint32_t queries(int box) const { return base + LatentTile::queries_at + box * LatentTile::box_bytes; }
  __device__ std::uint32_t latents(int stage, int box) const {
    return base + LatentTile::ring_at + stage * LatentTile::tile_bytes + box * LatentTile::box_bytes;
  }
  __device__ std::uint32_t probabilities() const { return base + LatentTile::probabilities_at; }
  __device__ std::uint32_t full(int stage, int box) const { return base + LatentTile::full_at + (stage * LatentTile::boxes + box) * 8; }
  /// part: 0 and 1 the halves of the latent, 2 rope.
  __device__ std::uint32_t empty(int stage, int part) const { return base + LatentTile::empty_at + (stage * 3 + part) * 8; }
};

/// Byte offset of 16-byte chunk `chunk` (0 … 7) of row `row` in a box.
__device__ __forceinline__ std::uint32_t box_offset(int row, int chunk) { return row * 128 + ((chunk ^ row) & 7) * 16; }

/// Named barriers: probabilities of warpgroup 0 and 1 are ready, all consumers, one consumer warpgroup each, a pair of producer warps each.
enum : int { kReadyBarrier = 1, kConsumersBarrier = 3, kWarpgroupBarrier = 4, kProducersBarrier = 6 };

}  // namespace attn::cuda
