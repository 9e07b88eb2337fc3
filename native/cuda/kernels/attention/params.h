#pragma once
// What attention kernels get by value: the problem itself, its host arrays replaced by copies in the workspace.

#include <cstdint>
#include <type_traits>

#include "core/attention.h"

namespace attn::cuda {

struct AttentionPlainParams {
  AttentionProblem problem;  // qo_indptr, kv_indptr and qo_lens are device memory here
  std::int64_t num_row_tiles = 0;
  std::int64_t num_chunks = 0;      // of the value features
  std::int64_t num_work_items = 0;  // batch · num_kv_heads · num_chunks · num_row_tiles
  bool vector_keys = false;         // key rows can be read 16 bytes at a time
  bool staged_queries = false;      // query rows fit in shared memory
};
static_assert(std::is_trivially_copyable_v<AttentionPlainParams> && sizeof(AttentionPlainParams) < 4096, "a kernel parameter is at most 4 KiB");

struct AttentionTileParams {
  AttentionProblem problem;
  std::uint32_t num_row_tiles = 0;  // of the longest sequence
  std::uint32_t num_heads = 0;      // batch · num_kv_heads
  bool vector_out = false;          // out's rows can be written 16 bytes at a time
};
static_assert(std::is_trivially_copyable_v<AttentionTileParams>);

/// What one instance of the tile kernel is compiled for. Narrower heads are padded with zeros in shared memory.
struct AttentionTileShape {
  int head_dim_qk, head_dim_vo;
  int warp_tiles;  // of 16 rows, per warp
  int tile_kv;     // keys
};
inline constexpr int kTileWarps = 4;
inline constexpr int kTileStages = 2;
constexpr int tile_rows(AttentionTileShape s) { return kTileWarps * s.warp_tiles * 16; }
constexpr int tile_shared_bytes(AttentionTileShape s) { return 2 * (tile_rows(s) * s.head_dim_qk + kTileStages * s.tile_kv * (s.head_dim_qk + s.head_dim_vo)); }
// All fit in the 99 KiB of sm_86 and sm_89; those of 64 KiB and less leave room for two blocks per multiprocessor of sm_80.
inline constexpr AttentionTileShape kTileShapes[] = {{64, 64, 2, 64}, {128, 128, 2, 32}, {192, 128, 2, 32}, {256, 256, 1, 32}};
/// Queries and keys in two parts have an instance of their own.
inline constexpr int kTwoPartShape = 2;

/// Rows of a block (one per warp) and value features of a work item.
inline constexpr int kPlainRows = 4;
inline constexpr int kPlainChunk = 256;

/// Floats from one staged query row to the next: rows of two warps share no 16 bytes.
#ifdef __CUDACC__
__host__ __device__
#endif
    constexpr int
    plain_query_stride(int head_dim_qk) {
  return (head_dim_qk + 3) / 4 * 4;
}

}  // namespace attn::cuda
