#pragma once
// Lengths, offsets and visible keys on the device: what core/attention_span.cpp and visible_keys() are on the host.

#include <cstdint>

#include "core/attention.h"

namespace attn::cuda {

__device__ __forceinline__ std::int64_t min_of(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
__device__ __forceinline__ std::int64_t max_of(std::int64_t a, std::int64_t b) { return a > b ? a : b; }

/// One sequence of the batch; all starts are element offsets of row 0.
struct Span {
  std::int64_t index, qo_begin, qo_len, qo_rows, kv_begin, kv_len;
  const std::int32_t* pages;

  __device__ Span(const AttentionProblem& p, std::int64_t b) : index(b) {
    qo_begin = p.qo_indptr ? p.qo_indptr[b] : 0;
    qo_rows = p.qo_indptr ? p.qo_indptr[b + 1] - qo_begin : p.qo_len;
    qo_len = p.qo_lens ? min_of(max_of(p.qo_lens[b], 0), qo_rows) : qo_rows;
    kv_begin = p.kv_indptr ? p.kv_indptr[b] : 0;
    const std::int64_t kv_rows = p.kv_indptr ? p.kv_indptr[b + 1] - kv_begin : p.kv_len;
    // Read when the work runs, long after the call was checked: clamped, so that no length reaches foreign memory.
    kv_len = p.kv_lens ? min_of(max_of(p.kv_lens[b * p.kv_lens_stride], 0), kv_rows) : kv_rows;
    pages = p.page_table ? p.page_table + b * p.page_table_stride : nullptr;
  }

  __device__ std::int64_t qo_row(const AttentionProblem& p, const HeadRows& rows, std::int64_t i) const {
    return (p.qo_indptr ? qo_begin * rows.row_stride : index * rows.sequence_stride) + i * rows.row_stride;
  }
  __device__ std::int64_t lse_row(const AttentionProblem& p, std::int64_t head, std::int64_t i) const {
    return index * p.lse_sequence_stride + head * p.lse_head_stride + qo_begin + i;
  }
  /// Element offset of kv row j, head 0. A page entry that names no page reads page 0, as on the CPU.
  __device__ std::int64_t kv_row(const AttentionProblem& p, const HeadRows& rows, std::int64_t j) const {
    if (!pages) return (p.kv_indptr ? kv_begin * rows.row_stride : index * rows.sequence_stride) + j * rows.row_stride;
    // Lengths fit in 32 bits, and a 64-bit division is a subroutine.
    const std::uint32_t slot = static_cast<std::uint32_t>(j) / static_cast<std::uint32_t>(p.page_size);
    std::int64_t page = pages[slot];
    if (page < 0 || page >= p.num_pages) page = 0;
    return page * rows.sequence_stride + (j - static_cast<std::int64_t>(slot) * p.page_size) * rows.row_stride;
  }
  /// Keys [begin, end) that query row i sees; empty when begin >= end.
  __device__ std::int64_t seen_begin(const AttentionProblem& p, std::int64_t i) const {
    return p.window_left < 0 ? 0 : max_of(i + (kv_len - qo_len) - p.window_left, 0);
  }
  __device__ std::int64_t seen_end(const AttentionProblem& p, std::int64_t i) const {
    return p.window_right < 0 ? kv_len : min_of(i + (kv_len - qo_len) + p.window_right + 1, kv_len);
  }
};

}  // namespace attn::cuda
