// Many query rows against one kv head, key block by key block:
//   S = Q Kᵀ;  P = exp(S - max);  O = O · exp(old max - max) + P V;  sum likewise
// Keys and values are converted to float32 once per block and shared by all rows of the group: K transposed into panels
// for the first product, V into panels for the second. Where V is part of K (MLA) one read serves both. Values are copied
// even when they are float32 already: rows of several heads lie a power of two apart and would evict each other from L1.
// Scratch: rows · head_dim_qk + kChunkRows · kMostBlockKeys + block keys · (head_dim_qk + head_dim_vo) floats. Any head dims, dtypes, strides.

#include "cpu/kernels/attention_kv.h"
#include "cpu/kernels/attention_softmax.h"
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
  Vec poison{};
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
          poison += v[i] * 0.0f;
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
  return reduce_add(poison);
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

/// The packed block at `block`, whose keys [block_keys) some row sees, for the rows [first, end) of the tile. `fresh`: nothing was added to them
/// before, and their accumulators have not been cleared.
void add_block(const AttentionTile& t, const TileScratch& scratch, std::int64_t block, KeyRange block_keys, int first, int end, bool row_by_row, bool fresh) {
  const AttentionProblem& p = *t.problem;
  const LogitScale scale = logit_scale(p, *t.sequence, t.kv_head);
  const std::int64_t depth = p.head_dim_qk, stride = accumulator_stride(p), q_stride = query_stride(p);
  const std::int64_t lo = block_keys.begin, hi = block_keys.end, col = lo / kGemmCols * kGemmCols;
  const std::int64_t value_panel = scratch.block_keys * kGemmCols;
  const std::int64_t count = round_up(hi, kLanes) - col;
  float* logits = scratch.logits;  // of this chunk alone
  gemm_tile<false>(end - first, hi - col, depth, scratch.queries + first * q_stride, q_stride, scratch.keys + col * depth, kGemmCols, depth * kGemmCols,
                   logits + col, kLogitStride);

  const std::int64_t query = (t.row_begin + first) / p.group_size, member = (t.row_begin + first) % p.group_size;
  RowWalk walk{query, member};
  for (int r = first; r < end; ++r, walk.next(p.group_size)) {
    const KeyRange seen = keys_of(t, block, block_keys, walk.query);
    float* row = logits + (r - first) * kLogitStride;
    if (scale.bent) bend_row(row, logit_row(p, *t.sequence, walk.query, t.kv_head * static_cast<std::int64_t>(p.group_size) + walk.member, block), lo, hi);
    mask_row(row, seen.begin, seen.end, col, col + count);
    const float factor = raise_row_max(row + col, count, scale.factor, t.max + r);
    if (factor == 1) continue;
    t.sum[r] *= factor;
    float* accumulator = t.accumulator + r * stride;
    for (std::int64_t d = 0; d < stride; d += kLanes) store(accumulator + d, load(accumulator + d) * factor);
  }
  for (int r = first; r < end; ++r) {
    t.sum[r] += exponentiate_row(logits + (r - first) * kLogitStride + col, count, scale.factor, t.max[r]);
  }
  if (row_by_row) {
    walk = {query, member};
    for (int r = first; r < end; ++r, walk.next(p.group_size)) {
      const KeyRange seen = keys_of(t, block, block_keys, walk.query);
      add_visible(logits + (r - first) * kLogitStride, scratch.values, value_panel, seen.begin, seen.end, p.head_dim_vo, t.accumulator + r * stride);
    }
    return;
  }
  (fresh ? gemm_tile<false> : gemm_tile<true>)(end - first, p.head_dim_vo, hi - lo, logits + lo, kLogitStride, scratch.values + lo * kGemmCols, kGemmCols,
                                               value_panel, t.accumulator + first * stride, stride);
}

// ── all keys in one block ──────────────────────────────────────────────────────────────────────────────────────
// Short prefills: of a few hundred nanoseconds of products for each row, packing its queries, keeping its sums in memory and writing its output
// took a third. Here queries are multiplied where they lie, and sums go from registers to the output.

/// Rows that are taken together, by whole register tiles: keys and values come from the L2 cache once for each of these.
constexpr int kShortRows = 24, kShortEdgeRows = 12;  // where rows see different keys, few rows see few that others do not

/// Rows first, first + step, … of a tile.
struct ShortRows {
  int first, step, count;
};

struct ShortBlock {
  std::int64_t at;
  KeyRange keys;  // packed
  bool poisoned;  // some value is not finite
};

void short_rows(const AttentionTile& t, const TileScratch& scratch, const ShortBlock& block, const ShortRows& rows) {
  const AttentionProblem& p = *t.problem;
  const SequenceSpan& s = *t.sequence;
  const std::int64_t depth = p.head_dim_qk, group_size = p.group_size, head = t.kv_head * group_size, value_panel = scratch.block_keys * kGemmCols;
  const auto query_of = [&](int i) { return (t.row_begin + rows.first + i * rows.step) / group_size; };
  const auto member_of = [&](int i) { return (t.row_begin + rows.first + i * rows.step) % group_size; };
  const auto row_of = [&](const HeadRows& of, std::int64_t start, int i) {
    return reinterpret_cast<float*>(of.data) + start + query_of(i) * of.row_stride + (head + member_of(i)) * of.head_stride;
  };
  const auto stride_of = [&](const HeadRows& of) { return rows.step == group_size ? of.row_stride : of.head_stride; };
  float* out = row_of(p.out, s.out_start, 0);
  const std::int64_t out_stride = stride_of(p.out);

  const KeyRange first = keys_of(t, block.at, block.keys, query_of(0)), last = keys_of(t, block.at, block.keys, query_of(rows.count - 1));
  const std::int64_t lo = first.begin, hi = last.end, col = lo / kGemmCols * kGemmCols, cols = round_up(hi, kLanes) - col;
  const bool edge = last.begin > lo || first.end < hi;
  float factors[kShortRows], sums[kShortRows], maxima[kShortRows];
  float* logits = scratch.logits;
  if (lo < hi) {
    const LogitScale scale = logit_scale(p, s, t.kv_head);
    gemm_tile<false>(rows.count, hi - col, depth, row_of(p.q[0], s.q_start[0], 0), stride_of(p.q[0]), scratch.keys + col * depth, kGemmCols, depth * kGemmCols,
                     logits + col, kLogitStride);
    for (int i = 0; i < rows.count; ++i) {
      float* row = logits + i * kLogitStride;
      if (scale.bent) bend_row(row, logit_row(p, s, query_of(i), head + member_of(i), block.at), lo, hi);
      const KeyRange seen = edge ? keys_of(t, block.at, block.keys, query_of(i)) : first;
      mask_row(row, seen.begin, seen.end, col, col + cols);
      maxima[i] = -__builtin_inff();
      raise_row_max(row + col, cols, scale.factor, &maxima[i]);
    }
    for (int i = 0; i < rows.count; ++i) sums[i] = exponentiate_row(logits + i * kLogitStride + col, cols, scale.factor, maxima[i]);
    for (int i = 0; i < rows.count; ++i) maxima[i] *= scale.natural;
  } else {
    for (int i = 0; i < rows.count; ++i) maxima[i] = -__builtin_inff(), sums[i] = 0;
  }
  for (int i = 0; i < rows.count; ++i) factors[i] = t.row_factor(t, query_of(i), member_of(i), maxima[i], sums[i]);

  const bool row_by_row = edge && block.poisoned;
  if (lo < hi && !row_by_row) {
    gemm_scaled(rows.count, p.head_dim_vo, hi - lo, logits + lo, kLogitStride, scratch.values + lo * kGemmCols, kGemmCols, value_panel, out, out_stride,
                factors);
  }
  for (int i = 0; i < rows.count; ++i) {
    if (sums[i] != 0 && !row_by_row) continue;
    float* row = out + i * out_stride;
    for (std::int64_t d = 0; d < p.head_dim_vo; d += kLanes) store(row + d, Vec{});
    if (sums[i] == 0) continue;
    const KeyRange seen = keys_of(t, block.at, block.keys, query_of(i));
    add_visible(logits + i * kLogitStride, scratch.values, value_panel, seen.begin, seen.end, p.head_dim_vo, row);
    for (std::int64_t d = 0; d < p.head_dim_vo; d += kLanes) store(row + d, load(row + d) * factors[i]);
  }
}

void short_tile(const AttentionTile& t) {
  const AttentionProblem& p = *t.problem;
  const SequenceSpan& s = *t.sequence;
  const KeyRange keys = tile_keys(t);
  const TileScratch scratch = tile_scratch(p, t.num_rows, t.scratch);
  const std::int64_t at = keys.begin / scratch.block_keys * scratch.block_keys, lo = keys.begin - at, hi = keys.end - at;
  pack<true>(kv_rows(p, s, p.k[0], s.k_start[0], t.kv_head), at, lo, hi, scratch.keys, p.head_dim_qk, 0, scratch.values, 0, 0);
  const float poison =
      pack<false>(kv_rows(p, s, p.v, s.v_start, t.kv_head), at, lo, hi, nullptr, 0, 0, scratch.values, scratch.block_keys * kGemmCols, p.head_dim_vo);
  const ShortBlock block{at, {lo, hi}, poison != 0};

  // Rows one stride apart: those of one head, or all where the heads of the group fill the row.
  const auto filled = [&](const HeadRows& rows) { return rows.head_stride * p.group_size == rows.row_stride; };
  const int step = filled(p.q[0]) && filled(p.out) ? 1 : p.group_size;
  const bool edge = p.window_left >= 0 || p.window_right >= 0;
  for (int head = 0; head < min_of(step, t.num_rows); ++head) {
    const int rows = (t.num_rows - head + step - 1) / step, most = edge ? kShortEdgeRows : kShortRows, chunks = (rows + most - 1) / most;
    for (int c = 0; c < chunks; ++c) {
      const int begin = rows * c / chunks, end = rows * (c + 1) / chunks;
      short_rows(t, scratch, block, {head + begin * step, step, end - begin});
    }
  }
}

}  // namespace

bool attention_tile_writes(const AttentionTile& t) {
  const AttentionProblem& p = *t.problem;
  const auto plain = [](const HeadRows& rows) { return rows.dtype == DType::kFloat32 && rows.dim_stride == 1; };
  if (p.num_parts != 1 || p.v_in_k || p.head_dim_vo % kLanes != 0 || !plain(p.q[0]) || !plain(p.out)) return false;
  const KeyRange keys = tile_keys(t);
  const std::int64_t block_keys = block_keys_of(p);
  return keys.begin < keys.end && keys.begin / block_keys == (keys.end - 1) / block_keys;
}

std::size_t attention_tile_scratch(const AttentionProblem& problem, int num_rows) { return tile_scratch(problem, num_rows, nullptr).bytes; }

void attention_tile(const AttentionTile& t) {
  const AttentionProblem& p = *t.problem;
  const SequenceSpan& s = *t.sequence;
  if (t.row_factor) return short_tile(t);
  clear_sums(t);
  const KeyRange keys = tile_keys(t);
  if (keys.begin >= keys.end) return;

  const TileScratch scratch = tile_scratch(p, t.num_rows, t.scratch);
  const std::int64_t depth = p.head_dim_qk, block_keys = scratch.block_keys, value_panel = block_keys * kGemmCols;
  pack_queries(t, scratch.queries);
  KvRows k[2];
  for (int part = 0; part < p.num_parts; ++part) k[part] = kv_rows(p, s, p.k[part], s.k_start[part], t.kv_head);
  const KvRows v = p.v_in_k ? k[0] : kv_rows(p, s, p.v, s.v_start, t.kv_head);

  bool cleared = false;
  for (std::int64_t block = keys.begin / block_keys * block_keys; block < keys.end; block += block_keys) {
    const std::int64_t lo = max_of(keys.begin - block, 0), hi = min_of(keys.end - block, block_keys);
    const auto row_keys = [&](int r) { return keys_of(t, block, {lo, hi}, (t.row_begin + r) / p.group_size); };
    // The rows that see any of the block follow one another, since both ends of a row's range never fall.
    int row_first = 0, row_end = t.num_rows;
    while (row_first < row_end && row_keys(row_first).end <= lo) ++row_first;
    while (row_end > row_first && row_keys(row_end - 1).begin >= hi) --row_end;
    if (row_first == row_end) continue;
    const bool edge = row_keys(row_end - 1).begin > lo || row_keys(row_first).end < hi;

    float poison = 0;
    for (int part = 0; part < p.num_parts; ++part) {
      const bool values_too = p.v_in_k && part == 0;
      poison += pack<true>(k[part], block, lo, hi, scratch.keys, depth, part == 0 ? 0 : k[0].dim, scratch.values, value_panel, values_too ? p.head_dim_vo : 0);
    }
    if (!p.v_in_k) poison = pack<false>(v, block, lo, hi, nullptr, 0, 0, scratch.values, value_panel, p.head_dim_vo);

    const bool row_by_row = edge && poison != 0;  // NaN compares unequal
    // Mostly every row sees the first block: its products are written and not added.
    const bool fresh = !cleared && !row_by_row && row_first == 0 && row_end == t.num_rows;
    if (!cleared && !fresh) clear_accumulator(t);
    cleared = true;
    for (int first = row_first; first < row_end; first += kChunkRows) {
      const int end = static_cast<int>(min_of(first + kChunkRows, row_end));
      // Of an edge block only the keys that these rows see: half of a diagonal block is nobody's.
      const KeyRange seen = edge ? KeyRange{row_keys(first).begin, row_keys(end - 1).end} : KeyRange{lo, hi};
      add_block(t, scratch, block, seen, first, end, row_by_row, fresh);
    }
  }
  const float natural = logit_scale(p, s, t.kv_head).natural;
  for (int r = 0; r < t.num_rows; ++r) t.max[r] *= natural;
}

void write_attention_row(const float* values, float factor, int dim, DType dtype, std::byte* dst, std::int64_t dim_stride) {
  with_dtype(dtype, [&](auto* typed) {
    using T = ElementOf<decltype(typed)>;
    T* out = reinterpret_cast<T*>(dst);
    if (dim_stride == 1 && dim % kLanes == 0) {
      for (std::int64_t d = 0; d < dim; d += kLanes) store(out + d, load(values + d) * factor);
      return;
    }
    for (std::int64_t d = 0; d < dim; d += kLanes) {
      const Vec v = load(values + d) * factor;
      if (dim_stride == 1 && d + kLanes <= dim) {
        store(out + d, v);
      } else {
        store_partial(out + d * dim_stride, v, dim - d, dim_stride);
      }
    }
  });
}

}  // namespace attn::cpu::ATTN_ISA
