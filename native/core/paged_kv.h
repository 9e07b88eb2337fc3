#pragma once
// Rows in and out of the pages of a cache. Slots and page numbers are checked here, before anything is enqueued, so that
// no kernel can write outside of the cache.

#include <cstdint>

#include "core/enqueue.h"
#include "core/tensor.h"

namespace attn {

struct AppendProblem {
  TensorView src;    // [batch, new_len, heads, dim]
  TensorView pages;  // [num_pages, page_size, heads, dim], may be a part of each row
  HostInts slots;    // [batch · new_len]: page · page_size + offset, -1 skips a row
};

struct PageCopyProblem {
  TensorView pages;  // [num_pages, ..]
  HostInts pairs;    // from, to, from, to, …; no page is written that another pair reads or writes
};

struct GatherProblem {
  TensorView pages;  // [num_pages, page_size, width]
  TensorView dst;    // [len, width], contiguous
  HostInts page_list;
  std::int64_t begin = 0;  // first row, counted over the pages of the list
};

/// Throws what paged_append throws for its arguments.
void check_append(const Tensor& src, const Tensor& pages, const std::vector<std::int32_t>& slots);

/// Writes src [batch, new_len, heads, dim] into pages [num_pages, page_size, heads, dim], converting. Float dtypes.
void paged_append(const Tensor& src, const Tensor& pages, HostInts slots);

/// Copies whole pages within a cache (copy-on-write of a shared page).
void page_copy(const Tensor& pages, HostInts pairs);

/// Rows begin … end - 1 of the sequence whose pages are listed, packed: [end - begin, width].
Tensor paged_gather(const Tensor& pages, HostInts page_list, std::int64_t begin, std::int64_t end);

}  // namespace attn
