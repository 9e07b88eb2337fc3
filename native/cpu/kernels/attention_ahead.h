#pragma once
// Rows that a thread needs next, fetched a few lines at a time between register tiles of the products: the products keep the multipliers busy
// and hardly any memory, packing and writing rows the other way round. One after the other they take as long as both.

#include "cpu/kernels/attention_kv.h"

namespace attn::cpu::ATTN_ISA {

class RowsAhead {
 public:
  RowsAhead() = default;
  /// What the tile `t` writes, then what the next one of its thread reads, over the next `steps` calls of step().
  ATTN_INLINE RowsAhead(const AttentionTile& t, std::int64_t steps) {
    const AttentionProblem& p = *t.problem;
    add_rows(p, p.out, t.sequence->out_start, t);
    if (t.next) {
      const AttentionTile& next = *t.next;
      for (int part = 0; part < p.num_parts; ++part) add_rows(p, p.q[part], next.sequence->q_start[part], next);
      if (!next.sequence->pages && (next.kv_head != t.kv_head || next.sequence != t.sequence)) {
        const std::int64_t keys = min_of(next.kv_end - next.kv_begin, kMostKeys);
        for (int part = 0; part < p.num_parts; ++part) add_keys(p.k[part], next.sequence->k_start[part], next, keys);
        if (!p.v_in_k) add_keys(p.v, next.sequence->v_start, next, keys);
      }
    }
    std::int64_t lines = 0;
    for (int i = 0; i < count_; ++i) lines += spans_[i].rows * ((spans_[i].row_bytes + 63) / 64);
    lines_per_step_ = min_of(lines / max_of(steps, 1) + 1, kMostLines);
  }

  ATTN_INLINE void operator()() {
    for (std::int64_t i = 0; i < lines_per_step_ && at_ < count_; ++i) {
      Span& span = spans_[at_];
      __builtin_prefetch(span.row + offset_, 0, 2);
      offset_ += 64;
      if (offset_ < span.row_bytes) continue;
      offset_ = 0;
      span.row += span.stride;
      if (--span.rows <= 0) ++at_;
    }
  }

 private:
  static constexpr std::int64_t kMostLines = 32;  // a step: a core waits for a dozen at once, and a register tile takes some hundred nanoseconds
  static constexpr std::int64_t kMostKeys = 256;  // the first block's

  struct Span {
    const std::byte* row;
    std::int64_t rows, row_bytes, stride;
  };

  ATTN_INLINE void add(const std::byte* row, std::int64_t rows, std::int64_t row_bytes, std::int64_t stride) {
    if (rows > 0) spans_[count_++] = {row, rows, row_bytes, stride};
  }

  /// Queries or outputs: the heads of a group side by side, or not at all.
  ATTN_INLINE void add_rows(const AttentionProblem& p, const HeadRows& rows, std::int64_t start, const AttentionTile& t) {
    if (rows.dim_stride != 1 || (p.group_size > 1 && rows.head_stride != rows.dim)) return;
    const std::int64_t size = bytes_of(rows.dtype), first = t.row_begin / p.group_size, last = (t.row_begin + t.num_rows - 1) / p.group_size;
    add(rows.data + (start + first * rows.row_stride + t.kv_head * static_cast<std::int64_t>(p.group_size) * rows.head_stride) * size, last - first + 1,
        p.group_size * rows.dim * size, rows.row_stride * size);
  }

  ATTN_INLINE void add_keys(const HeadRows& rows, std::int64_t start, const AttentionTile& t, std::int64_t keys) {
    if (rows.dim_stride != 1) return;
    const std::int64_t size = bytes_of(rows.dtype);
    add(rows.data + (start + t.kv_begin * rows.row_stride + t.kv_head * rows.head_stride) * size, keys, rows.dim * size, rows.row_stride * size);
  }

  Span spans_[6];  // outputs, two parts of queries, two of keys, values
  int count_ = 0, at_ = 0;
  std::int64_t offset_ = 0, lines_per_step_ = 0;
};

}  // namespace attn::cpu::ATTN_ISA
