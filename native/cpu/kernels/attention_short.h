#pragma once
// Short prefills: of a few hundred nanoseconds of products for each row, packing its queries, keeping its sums in memory and writing its output
// took a third. Here queries are multiplied where they lie, and sums go from registers to the output.

#include "cpu/kernels/attention_block.h"
#include "cpu/kernels/attention_softmax.h"

namespace attn::cpu::ATTN_ISA {
namespace {

/// Rows that are taken together, by whole register tiles: keys and values come from the L2 cache once for each of these.
constexpr int kShortRows = 24, kShortEdgeRows = 12;  // where rows see different keys, few rows see few that others do not

/// Rows first, first + step, … of a tile; `step` is 1 or the group's size.
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
  RowWalk walk{(t.row_begin + rows.first) / group_size, (t.row_begin + rows.first) % group_size};
  const auto row_of = [&](const HeadRows& of, std::int64_t start) {
    return reinterpret_cast<float*>(of.data) + start + walk.query * of.row_stride + (head + walk.member) * of.head_stride;
  };
  const auto stride_of = [&](const HeadRows& of) { return rows.step == group_size ? of.row_stride : of.head_stride; };
  const float* q = row_of(p.q[0], s.q_start[0]);
  float* out = row_of(p.out, s.out_start);
  const std::int64_t out_stride = stride_of(p.out);
  RowWalk at[kShortRows];
  for (int i = 0; i < rows.count; ++i) {
    at[i] = walk;
    if (rows.step == 1) {
      walk.next(p.group_size);
    } else {
      ++walk.query;
    }
  }

  const KeyRange first = keys_of(t, block.at, block.keys, at[0].query), last = keys_of(t, block.at, block.keys, at[rows.count - 1].query);
  const std::int64_t lo = first.begin, hi = last.end, col = lo / kGemmCols * kGemmCols, cols = round_up(hi, kLanes) - col;
  const bool edge = last.begin > lo || first.end < hi;
  float factors[kShortRows], sums[kShortRows], maxima[kShortRows];
  float* logits = scratch.logits;
  if (lo < hi) {
    const LogitScale scale = logit_scale(p, s, t.kv_head);
    gemm_tile<false>(rows.count, hi - col, depth, q, stride_of(p.q[0]), scratch.keys + col * depth, PanelRow(), depth * kGemmCols, logits + col, kLogitStride);
    for (int i = 0; i < rows.count; ++i) {
      float* row = logits + i * kLogitStride;
      if (scale.bent) bend_row(row, logit_row(p, s, at[i].query, head + at[i].member, block.at), lo, hi);
      const KeyRange seen = edge ? keys_of(t, block.at, block.keys, at[i].query) : first;
      mask_row(row, seen.begin, seen.end, col, col + cols);
    }
    for (int i = 0; i < rows.count; ++i) maxima[i] = row_peak(logits + i * kLogitStride + col, cols) * scale.factor;
    exponentiate_rows(logits + col, kLogitStride, rows.count, cols, scale.factor, maxima, sums);
    for (int i = 0; i < rows.count; ++i) maxima[i] *= kNaturalUnits;
  } else {
    for (int i = 0; i < rows.count; ++i) maxima[i] = -__builtin_inff(), sums[i] = 0;
  }
  for (int i = 0; i < rows.count; ++i) factors[i] = output_factor(t, at[i].query, at[i].member, maxima[i], sums[i]);

  const bool row_by_row = edge && block.poisoned;
  if (lo < hi && !row_by_row) {
    gemm_scaled(rows.count, p.head_dim_vo, hi - lo, logits + lo, kLogitStride, scratch.values + lo * kGemmCols, PanelRow(), value_panel, out, out_stride,
                factors);
  }
  for (int i = 0; i < rows.count; ++i) {
    if (sums[i] != 0 && !row_by_row) continue;
    float* row = out + i * out_stride;
    for (std::int64_t d = 0; d < p.head_dim_vo; d += kLanes) store(row + d, Vec{});
    if (sums[i] == 0) continue;
    const KeyRange seen = keys_of(t, block.at, block.keys, at[i].query);
    add_visible(logits + i * kLogitStride, scratch.values, value_panel, seen.begin, seen.end, p.head_dim_vo, row);
    for (std::int64_t d = 0; d < p.head_dim_vo; d += kLanes) store(row + d, load(row + d) * factors[i]);
  }
}

/// Whether a tile is taken so: rows of float32 whose keys are all in one block, and whose outputs are the tile's own to write.
bool is_short(const AttentionTile& t) {
  const AttentionProblem& p = *t.problem;
  const auto plain = [](const HeadRows& rows) { return rows.dtype == DType::kFloat32 && rows.dim_stride == 1; };
  if (!t.write_row || p.num_parts != 1 || p.v_in_k || p.head_dim_vo % kLanes != 0 || !plain(p.q[0]) || !plain(p.out)) return false;
  const KeyRange keys = tile_keys(t);
  const std::int64_t block_keys = block_keys_of(p);
  return keys.begin < keys.end && keys.begin / block_keys == (keys.end - 1) / block_keys;
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
}  // namespace attn::cpu::ATTN_ISA
