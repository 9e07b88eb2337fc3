#pragma once
// Which tile of rows a block works on, and which keys that tile sees. Every role of a block walks the same list.

#include <cstdint>

#include "cuda/kernels/attention/params.h"
#include "cuda/kernels/attention/prefill_params.h"

namespace attn::cuda {

/// One tile of query rows of one kv head, with its lengths in 32 bits: row r is query first_query + r / group, head r % group of the group.
template <int kKv>
struct PrefillItem {
  int sequence, kv_head, first_query;
  int qo_begin, qo_rows, qo_len, kv_begin, kv_len;
  int begin, end;              // keys that any row sees
  int inner_begin, inner_end;  // keys that all rows see
  int clean_end;               // keys from here on are zeros in shared memory
  int origin, steps;           // of kKv keys each

  /// False where the sequence has no such rows.
  __device__ __forceinline__ bool find(const PrefillParams& params, unsigned item) {
    const AttentionProblem& p = params.problem;
    const unsigned section_items = params.section_heads * params.num_row_tiles, section = item / section_items;
    const unsigned heads_before = section * params.section_heads, heads = min(params.section_heads, params.num_heads - heads_before);
    const unsigned within = item - section * section_items, rank = within / heads, head = heads_before + within - rank * heads;
    sequence = static_cast<int>(head / static_cast<unsigned>(p.num_kv_heads));
    kv_head = static_cast<int>(head) - sequence * p.num_kv_heads;
    // The last tiles first: under causal masks they see the most keys, and the short ones fill the gaps at the end.
    first_query = static_cast<int>(params.num_row_tiles - 1 - rank) * params.queries;
    qo_begin = p.qo_indptr ? p.qo_indptr[sequence] : 0;
    qo_rows = p.qo_indptr ? p.qo_indptr[sequence + 1] - qo_begin : static_cast<int>(p.qo_len);
    if (first_query >= qo_rows) return false;
    qo_len = p.qo_lens ? min(max(p.qo_lens[sequence], 0), qo_rows) : qo_rows;
    kv_begin = p.kv_indptr ? p.kv_indptr[sequence] : 0;
    const int kv_rows = p.kv_indptr ? p.kv_indptr[sequence + 1] - kv_begin : static_cast<int>(p.kv_len);
    // Read when the work runs, long after the call was checked: clamped, so that no length reaches foreign memory.
    kv_len = p.kv_lens ? min(max(p.kv_lens[sequence * p.kv_lens_stride], 0), kv_rows) : kv_rows;
    const bool zeros_follow = !p.kv_indptr && !p.kv_lens && !p.page_table;
    clean_end = zeros_follow ? kv_len : 0x7fffffff;

    // Keys of the first and the last valid query bound those of all between.
    const int last_query = min(first_query + params.queries, qo_len) - 1;
    end = first_query < qo_len ? max(seen_end(p, last_query), 0) : 0;
    begin = min(seen_begin(p, first_query), end);
    inner_begin = seen_begin(p, last_query);
    inner_end = max(seen_end(p, first_query), 0);
    origin = begin / kKv * kKv;
    steps = begin < end ? (end - origin + kKv - 1) / kKv : 0;
    return true;
  }

  /// Keys [begin, end) that query i sees; windows are as wide as 63 bits, keys are not.
  __device__ __forceinline__ int seen_begin(const AttentionProblem& p, int i) const {
    if (p.window_left < 0) return 0;
    const std::int64_t first = i + (kv_len - qo_len) - p.window_left;
    return first > 0 ? static_cast<int>(first) : 0;
  }
  __device__ __forceinline__ int seen_end(const AttentionProblem& p, int i) const {
    if (p.window_right < 0) return kv_len;
    const std::int64_t last = i + (kv_len - qo_len) + p.window_right + 1;
    return last < kv_len ? static_cast<int>(last) : kv_len;
  }

  /// Some rows do not see some of the step's keys.
  __device__ __forceinline__ bool is_edge(int first) const { return first < inner_begin || first + kKv > inner_end; }
  /// And those keys may hold values that are not finite, which must not meet a hidden key's probability of 0: 0 · NaN is NaN.
  __device__ __forceinline__ bool hides_values(int first) const { return first < inner_begin || min(first + kKv, clean_end) > inner_end; }

  /// The row of `out` (or q) that belongs to query i, as an element offset.
  __device__ __forceinline__ std::int64_t qo_row(const AttentionProblem& p, const HeadRows& rows, int i) const {
    return (p.qo_indptr ? qo_begin * rows.row_stride : sequence * rows.sequence_stride) + i * rows.row_stride;
  }
  /// The page of key j; an entry that names no page reads page 0, as on the CPU.
  __device__ __forceinline__ int page_of(const AttentionProblem& p, int j) const {
    const int page = p.page_table[sequence * p.page_table_stride + static_cast<unsigned>(j) / static_cast<unsigned>(p.page_size)];
    return page < 0 || page >= p.num_pages ? 0 : page;
  }
  __device__ __forceinline__ std::int64_t kv_row(const AttentionProblem& p, const HeadRows& rows, int j) const {
    if (p.page_table) return page_of(p, j) * rows.sequence_stride + static_cast<unsigned>(j) % static_cast<unsigned>(p.page_size) * rows.row_stride;
    return (p.kv_indptr ? kv_begin * rows.row_stride : sequence * rows.sequence_stride) + j * rows.row_stride;
  }
};

/// Calls work(item, index) for each of this block's tiles. Blocks take rounds forth and back along the list, which goes from the longest tiles to the
/// shortest: two rounds together are about as long for every block.
template <int kKv, class Work>
__device__ __forceinline__ void for_each_item(const PrefillParams& params, Work&& work) {
  for (unsigned round = 0; round * gridDim.x < params.num_items; ++round) {
    const unsigned index = round * gridDim.x + (round % 2 ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
    PrefillItem<kKv> item;
    if (index < params.num_items && item.find(params, index)) work(item, index);
  }
}

}  // namespace attn::cuda
