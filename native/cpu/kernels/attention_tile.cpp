// Many query rows against one kv head, key block by key block:
//   S = Q Kᵀ;  P = exp(S - max);  O = O · exp(old max - max) + P V;  sum likewise
// Scratch: rows · head_dim_qk + kChunkRows · kMostBlockKeys + block keys · (head_dim_qk + head_dim_vo) floats. Any head dims, dtypes, strides.

#include "cpu/kernels/attention_ahead.h"
#include "cpu/kernels/attention_short.h"

namespace attn::cpu::ATTN_ISA {
namespace {

/// The packed block at `block`, whose keys [block_keys) some row sees, for the rows [first, end) of the tile. `fresh`: nothing was added to them
/// before, and their accumulators have not been cleared.
void add_block(const AttentionTile& t, const TileScratch& scratch, std::int64_t block, KeyRange block_keys, int first, int end, bool row_by_row, bool fresh,
               TileAhead& ahead) {
  const AttentionProblem& p = *t.problem;
  const LogitScale scale = logit_scale(p, *t.sequence, t.kv_head);
  const std::int64_t depth = p.head_dim_qk, stride = accumulator_stride(p), q_stride = query_stride(p);
  const std::int64_t lo = block_keys.begin, hi = block_keys.end, col = lo / kGemmCols * kGemmCols;
  const std::int64_t value_panel = scratch.block_keys * kGemmCols;
  const std::int64_t count = round_up(hi, kLanes) - col;
  float* logits = scratch.logits;  // of this chunk alone
  const auto pause = [&ahead] { ahead.fetch(); };
  gemm_tile<false>(end - first, hi - col, depth, scratch.queries + first * q_stride, q_stride, scratch.keys + col * depth, PanelRow(), depth * kGemmCols,
                   logits + col, kLogitStride, pause);

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
  float sums[kChunkRows];
  exponentiate_rows(logits + col, kLogitStride, end - first, count, scale.factor, t.max + first, sums);
  for (int r = first; r < end; ++r) t.sum[r] += sums[r - first];
  if (row_by_row) {
    walk = {query, member};
    for (int r = first; r < end; ++r, walk.next(p.group_size)) {
      const KeyRange seen = keys_of(t, block, block_keys, walk.query);
      add_visible(logits + (r - first) * kLogitStride, scratch.values, value_panel, seen.begin, seen.end, p.head_dim_vo, t.accumulator + r * stride);
    }
    return;
  }
  const auto multiply = fresh ? gemm_tile<false, PanelRow, decltype(pause)> : gemm_tile<true, PanelRow, decltype(pause)>;
  multiply(end - first, p.head_dim_vo, hi - lo, logits + lo, kLogitStride, scratch.values + lo * kGemmCols, PanelRow(), value_panel,
           t.accumulator + first * stride, stride, pause);
}

}  // namespace

std::size_t attention_tile_scratch(const AttentionProblem& problem, int num_rows) { return tile_scratch(problem, num_rows, nullptr).bytes; }

void attention_tile(const AttentionTile& t) {
  const AttentionProblem& p = *t.problem;
  const SequenceSpan& s = *t.sequence;
  if (is_short(t)) return short_tile(t);
  clear_sums(t);
  const KeyRange keys = tile_keys(t);

  const TileScratch scratch = tile_scratch(p, t.num_rows, t.scratch);
  const std::int64_t depth = p.head_dim_qk, block_keys = scratch.block_keys, value_panel = block_keys * kGemmCols;
  KvRows k[2];
  for (int part = 0; part < p.num_parts; ++part) k[part] = kv_rows(p, s, p.k[part], s.k_start[part], t.kv_head);
  const KvRows v = p.v_in_k ? k[0] : kv_rows(p, s, p.v, s.v_start, t.kv_head);

  int packed = 0, finished = 0;
  const auto finish_until = [&](int end) {
    for (int r = finished; r < end; ++r) t.max[r] *= kNaturalUnits;
    if (t.write_row && finished < end) write_outputs(t, finished, end);
    finished = end;
  };
  bool cleared = false;
  TileAhead ahead(t);
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
      if (packed < end) {
        pack_queries(t, packed, end, scratch.queries);
        packed = end;
        ahead.want_queries(t, end, static_cast<int>(min_of(end + kChunkRows, t.num_rows)));
      }
      const bool last = keys_end(t, end - 1) <= block + block_keys;
      if (last && t.write_row) ahead.outputs.want(first, end);
      add_block(t, scratch, block, seen, first, end, row_by_row, fresh, ahead);
      if (last) finish_until(end);
    }
  }
  finish_until(t.num_rows);
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
