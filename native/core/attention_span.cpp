#include <algorithm>

#include "core/attention.h"

namespace attn {

DTypeMask operand_dtypes(const AttentionProblem& p) {
  DTypeMask dtypes = mask_of(p.v.dtype) | mask_of(p.out.dtype);
  for (int part = 0; part < p.num_parts; ++part) dtypes |= mask_of(p.q[part].dtype) | mask_of(p.k[part].dtype);
  return dtypes;
}

SequenceSpan sequence_span(const AttentionProblem& p, std::int64_t b) {
  SequenceSpan span;
  span.index = b;

  const std::int64_t qo_begin = p.qo_indptr ? p.qo_indptr[b] : 0;
  span.qo_rows = p.qo_indptr ? p.qo_indptr[b + 1] - qo_begin : p.qo_len;
  span.qo_len = p.qo_lens ? std::clamp<std::int64_t>(p.qo_lens[b], 0, span.qo_rows) : span.qo_rows;
  const auto start = [&](const HeadRows& rows, std::int64_t first, bool packed) { return packed ? first * rows.row_stride : b * rows.sequence_stride; };
  for (int part = 0; part < p.num_parts; ++part) span.q_start[part] = start(p.q[part], qo_begin, p.qo_indptr);
  span.out_start = start(p.out, qo_begin, p.qo_indptr);
  span.lse_start = b * p.lse_sequence_stride + qo_begin;

  const std::int64_t kv_begin = p.kv_indptr ? p.kv_indptr[b] : 0;
  const std::int64_t kv_rows = p.kv_indptr ? p.kv_indptr[b + 1] - kv_begin : p.kv_len;
  span.kv_len = p.kv_lens ? std::clamp<std::int64_t>(p.kv_lens[b * p.kv_lens_stride], 0, kv_rows) : kv_rows;
  if (p.page_table) {
    span.pages = p.page_table + b * p.page_table_stride;
  } else {
    for (int part = 0; part < p.num_parts; ++part) span.k_start[part] = start(p.k[part], kv_begin, p.kv_indptr);
    span.v_start = start(p.v, kv_begin, p.kv_indptr);
  }
  return span;
}

}  // namespace attn
