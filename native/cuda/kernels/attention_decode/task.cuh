#pragma once
// Which query rows and keys a block of the decoding kernel owns, and what each row sees of them.

#include "cuda/kernels/attention/span.cuh"
#include "cuda/kernels/attention_decode/params.h"

namespace attn::cuda {

/// Keys are counted from the split's first.
struct DecodeTask {
  const SplitParams& params;
  const AttentionProblem& p;
  const Span span;
  std::int64_t kv_head, split, first_row, first_key;
  int num_rows;
  int begin, end;                // keys that any row sees
  int common_begin, common_end;  // keys that every row sees

  __device__ explicit DecodeTask(const SplitParams& params)
      : params(params), p(params.problem), span(p, blockIdx.x / params.row_tiles / params.num_splits / p.num_kv_heads) {}

  /// False when there is nothing to do.
  template <int kRows>
  __device__ bool locate() {
    // Row tiles innermost: those of one split run side by side and find its keys in the L2 cache.
    unsigned n = blockIdx.x;
    first_row = n % params.row_tiles * static_cast<std::int64_t>(kRows);
    n /= params.row_tiles;
    split = n % params.num_splits;
    kv_head = n / params.num_splits % p.num_kv_heads;
    const std::int64_t rows = span.qo_len * p.group_size;
    first_key = split * params.split_len;
    if (first_row >= rows || first_key >= span.kv_len) return false;
    num_rows = static_cast<int>(min_of(rows - first_row, kRows));
    see(query_of(0), begin, common_end);
    see(query_of(num_rows - 1), common_begin, end);
    return true;
  }

  __device__ std::int64_t query_of(int row) const { return (first_row + row) / p.group_size; }
  __device__ std::int64_t head_of(int row) const { return kv_head * p.group_size + (first_row + row) % p.group_size; }

  /// The keys [from, to) of the split that a query sees.
  __device__ void see(std::int64_t query, int& from, int& to) const {
    const auto local = [&](std::int64_t key) { return static_cast<int>(min_of(max_of(key - first_key, 0), params.split_len)); };
    from = local(span.seen_begin(p, query));
    to = local(span.seen_end(p, query));
  }

  /// Whether some row sees a key of the tile that another does not.
  __device__ bool parted(int tile_begin, int tile_end) const {
    return (tile_begin < common_begin && tile_end > begin) || (tile_end > common_end && tile_begin < end);
  }

  /// Of row 0 in the workspace.
  __device__ std::int64_t state_row() const { return ((span.index * p.num_kv_heads + kv_head) * params.num_splits + split) * params.max_rows + first_row; }
};

}  // namespace attn::cuda
