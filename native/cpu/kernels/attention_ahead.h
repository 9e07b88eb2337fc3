#pragma once
// Rows that a tile will need soon, fetched while it multiplies: read and written in one go, its queries and outputs took 4 % of a prefill, most of
// it waiting for memory. Fetching the next block's keys and values so as well made a prefill slower.

#include "cpu/kernels/attention_kv.h"

namespace attn::cpu::ATTN_ISA {

class RowsAhead {
 public:
  RowsAhead() = default;
  ATTN_INLINE RowsAhead(const AttentionTile& tile, const HeadRows& rows, std::int64_t start) : tile_(&tile), rows_(&rows), start_(start) {}

  /// From now on rows [first, end) of the tile.
  ATTN_INLINE void want(int first, int end) {
    next_ = first;
    end_ = end;
  }

  /// Fetches one of them. Between register tiles, some hundred nanoseconds apart, its lines find the way to memory free.
  ATTN_INLINE void fetch() {
    if (next_ >= end_) return;
    const std::int64_t row = tile_->row_begin + next_++, group_size = tile_->problem->group_size;
    const std::int64_t at = start_ + row / group_size * rows_->row_stride + (tile_->kv_head * group_size + row % group_size) * rows_->head_stride;
    const std::byte* line = rows_->data + at * bytes_of(rows_->dtype);
    for (const std::byte* end = line + rows_->dim * bytes_of(rows_->dtype); line < end; line += 64) __builtin_prefetch(line, 0, 2);
  }

 private:
  const AttentionTile* tile_ = nullptr;
  const HeadRows* rows_ = nullptr;
  std::int64_t start_ = 0;
  int next_ = 0, end_ = 0;
};

/// Queries of the rows to come, and outputs that will be written.
struct TileAhead {
  RowsAhead queries[2], outputs;

  ATTN_INLINE explicit TileAhead(const AttentionTile& t) : outputs(t, t.problem->out, t.sequence->out_start) {
    for (int part = 0; part < t.problem->num_parts; ++part) queries[part] = RowsAhead(t, t.problem->q[part], t.sequence->q_start[part]);
  }
  ATTN_INLINE void want_queries(const AttentionTile& t, int first, int end) {
    for (int part = 0; part < t.problem->num_parts; ++part) queries[part].want(first, end);
  }
  ATTN_INLINE void fetch() {
    for (RowsAhead& part : queries) part.fetch();
    outputs.fetch();
  }
};

}  // namespace attn::cpu::ATTN_ISA
