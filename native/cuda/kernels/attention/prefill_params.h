#pragma once
// What the prefill kernels of sm_90a are compiled for and get by value.

#include <cuda.h>

#include <cstdint>
#include <type_traits>

#include "core/attention.h"

namespace attn::cuda {

inline constexpr int kPrefillBoxBytes = 128;  // one row of a box, where its shape does not say another width
inline constexpr int kPrefillRows = 64;       // of one consumer

/// One instance. Narrower heads are padded with zeros by TMA.
struct PrefillShape {
  int head_dim_qk, head_dim_vo;
  int consumers;      // warpgroups of 64 query rows each
  int tile_kv;        // keys of one step
  int stages;         // of the rings of keys and of values
  int element_bytes;  // of q, k and v: 2, or 1 for float8_e4m3
  /// Of a row of a box, and what its swizzle spans: 64 where 128 do not divide a row of features. The descriptors of wgmma and the tensor maps follow from it.
  int box_bytes = kPrefillBoxBytes;
};

constexpr int prefill_box_features(PrefillShape s) { return s.box_bytes / s.element_bytes; }
constexpr int prefill_boxes(PrefillShape s, int dim) { return (dim + prefill_box_features(s) - 1) / prefill_box_features(s); }
constexpr int prefill_rows(PrefillShape s) { return kPrefillRows * s.consumers; }
constexpr int prefill_threads(PrefillShape s) { return 128 * (1 + s.consumers); }
constexpr int prefill_query_bytes(PrefillShape s) { return prefill_boxes(s, s.head_dim_qk) * prefill_rows(s) * s.box_bytes; }
constexpr int prefill_key_bytes(PrefillShape s) { return prefill_boxes(s, s.head_dim_qk) * s.tile_kv * s.box_bytes; }
constexpr int prefill_value_bytes(PrefillShape s) { return prefill_boxes(s, s.head_dim_vo) * s.tile_kv * s.box_bytes; }
/// float8_e4m3 values once more, transposed: a row of a step's keys for each feature.
constexpr int prefill_transposed_bytes(PrefillShape s) { return s.element_bytes == 1 ? s.head_dim_vo * s.tile_kv : 0; }
/// Boxes begin at multiples of 1024 bytes, wherever the block's memory begins; barriers and flags come last.
constexpr int prefill_shared_bytes(PrefillShape s) {
  return 1024 + prefill_query_bytes(s) + s.stages * (prefill_key_bytes(s) + prefill_value_bytes(s) + prefill_transposed_bytes(s)) + 256;
}

// All fit the 227 KiB of a block on compute capability 9.0.
inline constexpr PrefillShape kPrefillShapes[] = {
    {64, 64, 3, 128, 3, 2}, {96, 96, 3, 96, 3, 2, 64}, {128, 128, 2, 128, 2, 2}, {192, 128, 2, 128, 2, 2}, {256, 256, 2, 80, 2, 2}};
/// Queries and keys in two parts have an instance of their own.
inline constexpr int kPrefillTwoParts = 3;
/// Of float8_e4m3.
inline constexpr PrefillShape kPrefillByteShapes[] = {{64, 64, 2, 128, 2, 1}, {128, 128, 2, 128, 2, 1}, {256, 256, 2, 128, 2, 1}};

struct PrefillParams {
  CUtensorMap q[2], k[2], v;         // q: feature, head, row, sequence; k and v: feature, row (of a page), head, sequence (or page)
  AttentionProblem problem;          // its host arrays replaced by copies in the workspace
  std::int32_t boxes[2];             // in a row of features, of each part of q and k; all of the shape, so that zeros fill what no feature does
  std::int32_t queries;              // of one tile: as many as there are rows for, each with its group of heads
  std::int32_t box_rows;             // keys of one copy by TMA: all of a step, or what divides a page and a step
  std::int32_t k_heads[2], v_heads;  // 0 where one head serves all
  std::int32_t q_sequences[2], k_sequences[2], v_sequences;  // 0 where the rows of all sequences lie in one
  std::uint32_t num_row_tiles;                               // of the longest sequence
  std::uint32_t num_heads;                                   // batch · num_kv_heads
  std::uint32_t section_heads;                               // heads whose keys share the L2 cache
  std::uint32_t num_items;                                   // num_row_tiles · num_heads
  bool gathered;                                             // keys and values come row by row, k and v are no maps
  bool vector_out;                                           // out's rows can be written 16 bytes at a time
};
static_assert(std::is_trivially_copyable_v<PrefillParams> && sizeof(PrefillParams) <= 4096);

}  // namespace attn::cuda
