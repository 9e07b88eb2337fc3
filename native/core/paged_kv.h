#pragma once
// Rows in and out of the pages of a cache. Slots and page numbers are checked here, before anything is enqueued, so that
// no kernel can write outside of the cache.

#include <cstdint>
#include <optional>

#include "core/enqueue.h"
#include "core/tensor.h"

namespace attn {

struct AppendProblem {
  TensorView src;    // [batch, new_len, heads, dim]
  TensorView pages;  // [num_pages, page_size, heads, dim], may be a part of each row
  HostInts slots;    // [batch · new_len]: page · page_size + offset, -1 skips a row
  // Where rows of another dtype go into pages of float8_e4m3: what is stored is x / scale, divided in float32, rounded to nearest even, beyond
  // ±448 (infinities too) ±448; NaN stays NaN. [heads] float32 on the device; null: every scale is 1, and the rest holds.
  const float* scales = nullptr;
  std::int64_t scales_stride = 1;

  WorkSize work_size() const { return elementwise_size(src, src, 1); }
};
/// Whether the rows are quantised so: a kernel that does not must turn the problem down.
bool quantises(const AppendProblem& problem);

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
void check_append(const Tensor& src, const Tensor& pages, const std::vector<std::int32_t>& slots, const std::optional<Tensor>& scales);

/// Throws unless there are `rows` slots, each -1 or below `capacity`.
void check_slots(const std::vector<std::int32_t>& slots, std::int64_t rows, std::int64_t capacity);
/// Throws unless rows begin … end - 1 of the listed pages of [num_pages, page_size, ..] exist.
void check_gathered(const TensorView& pages, const std::vector<std::int32_t>& page_list, std::int64_t begin, std::int64_t end);

/// Writes src [batch, new_len, heads, dim] into pages [num_pages, page_size, heads, dim], converting. Float dtypes. `scales` [heads] float32: of
/// pages in float8_e4m3 and rows of another dtype only.
void paged_append(const Tensor& src, const Tensor& pages, HostInts slots, const std::optional<Tensor>& scales);

/// Copies whole pages within a cache (copy-on-write of a shared page).
void page_copy(const Tensor& pages, HostInts pairs);

/// Rows begin … end - 1 of the sequence whose pages are listed, packed: [end - begin, width].
Tensor paged_gather(const Tensor& pages, HostInts page_list, std::int64_t begin, std::int64_t end);

}  // namespace attn
