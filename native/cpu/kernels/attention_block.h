#pragma once
// A block of keys and values as the float32 kernels multiply it: converted to float32 once and shared by all rows of the group, K transposed into
// panels for the first product, V into panels for the second. Where V is part of K (MLA) one read serves both. Values are copied even when they
// are float32 already: rows of several heads lie a power of two apart and would evict each other from L1.

#include "cpu/kernels/attention_kv.h"
#include "cpu/kernels/gemm_tile.h"

namespace attn::cpu::ATTN_ISA {
namespace {

/// Keys per block at most. Every block loads and stores the accumulators; a panel of its values, as long as the block, must stay in the L1 cache.
constexpr int kMostBlockKeys = kLanes < 16 ? 2 * kTileKv : 4 * kTileKv;
/// Floats of a block's panels that leave room in the L2 cache.
constexpr std::int64_t kBlockFloats = 64 * 1024;
static_assert(kTileKv % kGemmCols == 0, "a block of keys is whole panels");

// Not a power of two, so that rows do not collide in the L1 cache.
constexpr std::int64_t kLogitStride = kMostBlockKeys + 16;

/// A multiple of kTileKv that follows from the head dims alone: what a row sums up must not depend on its tile.
ATTN_INLINE std::int64_t block_keys_of(const AttentionProblem& p) {
  const std::int64_t fitting = kBlockFloats / (p.head_dim_qk + p.head_dim_vo) / kTileKv * kTileKv;
  return min_of(max_of(fitting, kTileKv), kMostBlockKeys);
}

/// Rows whose queries, logits and accumulators stay in the L2 cache beside the block's panels; a multiple of every register tile.
constexpr int kChunkRows = 48;

struct TileScratch {
  std::int64_t block_keys;
  float* queries;  // [rows, query_stride]
  float* keys;     // [block_keys / kGemmCols, head_dim_qk, kGemmCols]
  float* values;   // [ceil(head_dim_vo / kGemmCols), block_keys, kGemmCols]
  float* logits;   // [kChunkRows, kLogitStride]
  std::size_t bytes;
};

/// Without memory, only the number of bytes.
ATTN_INLINE TileScratch tile_scratch(const AttentionProblem& p, int rows, std::byte* memory) {
  TileScratch s;
  s.block_keys = block_keys_of(p);
  s.bytes = 0;
  const auto take = [&](std::int64_t floats) {
    float* taken = memory ? reinterpret_cast<float*>(memory + s.bytes) : nullptr;
    s.bytes += static_cast<std::size_t>(round_up(floats, 16) * 4);
    return taken;
  };
  s.queries = take(rows * query_stride(p));
  s.keys = take(s.block_keys * p.head_dim_qk);
  s.values = take(round_up(p.head_dim_vo, kGemmCols) * s.block_keys);
  s.logits = take(min_of(rows, kChunkRows) * kLogitStride);
  return s;
}

/// Rows lo … hi of the block at `first`, converted: kKeys transposes them into key panels from feature `offset` on,
/// the first `value_dim` features also go to value panels. Returns NaN or 0: NaN when a value is not finite.
/// Lanes beyond [lo, hi) repeat a valid row: they are masked later, and no other row may be read.
template <class T, bool kKeys>
ATTN_INLINE float pack_rows(const KvRows& rows, std::int64_t first, std::int64_t lo, std::int64_t hi, float* keys, std::int64_t depth, std::int64_t offset,
                            float* values, std::int64_t value_panel, std::int64_t value_dim) {
  Vec poison[4] = {};  // each waits for itself alone
  for (std::int64_t c = lo / kLanes * kLanes; c < hi; c += kLanes) {
    const std::byte* row[kLanes];
    for (int i = 0; i < kLanes; ++i) row[i] = rows.row(first + min_of(max_of(c + i, lo), hi - 1));
    float* panel = keys + c / kGemmCols * depth * kGemmCols + offset * kGemmCols + c % kGemmCols;
    for (std::int64_t d = 0; d < rows.dim; d += kLanes) {
      Vec v[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) v[i] = load_scaled<T>(rows, row[i], d);
      if (d < value_dim) {
        float* dst = values + d / kGemmCols * value_panel + c * kGemmCols + d % kGemmCols;
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
          store(dst + i * kGemmCols, v[i]);
          poison[i % 4] += v[i] * 0.0f;
        }
      }
      if constexpr (kKeys) {
        transpose(v);
        const std::int64_t count = min_of(kLanes, rows.dim - d);
        float* dst = panel + d * kGemmCols;
        if (count == kLanes) {
#pragma GCC unroll 16
          for (int i = 0; i < kLanes; ++i) store(dst + i * kGemmCols, v[i]);
        } else {
          for (std::int64_t i = 0; i < count; ++i) store(dst + i * kGemmCols, v[i]);
        }
      }
    }
  }
  return reduce_add(poison[0] + poison[1] + (poison[2] + poison[3]));
}

template <bool kKeys>
float pack(const KvRows& rows, std::int64_t first, std::int64_t lo, std::int64_t hi, float* keys, std::int64_t depth, std::int64_t offset, float* values,
           std::int64_t value_panel, std::int64_t value_dim) {
  float poison = 0;
  with_operand_dtype(rows.dtype, [&](auto* typed) {
    using T = ElementOf<decltype(typed)>;
    poison = pack_rows<T, kKeys>(rows, first, lo, hi, keys, depth, offset, values, value_panel, value_dim);
  });
  return poison;
}

/// O += P V over the keys that this row sees and no others: where a masked value is not finite, 0 · value would spoil the row.
void add_visible(const float* probabilities, const float* values, std::int64_t value_panel, std::int64_t lo, std::int64_t hi, std::int64_t dim,
                 float* accumulator) {
  for (std::int64_t d = 0; d < dim; d += kLanes) {
    const float* column = values + d / kGemmCols * value_panel + d % kGemmCols;
    Vec sum = load(accumulator + d);
    for (std::int64_t j = lo; j < hi; ++j) sum = probabilities[j] * load(column + j * kGemmCols) + sum;
    store(accumulator + d, sum);
  }
}

/// Query and head of one row after the other.
struct RowWalk {
  std::int64_t query, member;
  ATTN_INLINE void next(int group_size) {
    if (++member < group_size) return;
    member = 0;
    ++query;
  }
};

/// What a query sees of the block at `block`, within `keys`.
ATTN_INLINE KeyRange keys_of(const AttentionTile& t, std::int64_t block, KeyRange keys, std::int64_t query) {
  const KeyRange all = visible_keys(*t.problem, *t.sequence, query);
  return {max_of(all.begin - block, keys.begin), min_of(all.end - block, keys.end)};
}

}  // namespace
}  // namespace attn::cpu::ATTN_ISA
