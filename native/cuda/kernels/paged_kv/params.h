#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "cuda/common/strided.h"

namespace attn::cuda {

/// Strides in the units that the kernel moves: elements, or 16 bytes.
struct AppendParams {
  const void* src;            // [batch, new_len, heads, dim]
  void* pages;                // [num_pages, page_size, heads, dim]
  const std::int32_t* slots;  // [batch · new_len], -1 skips a row; the rest were checked on the host
  std::int64_t src_strides[4], page_strides[4];
  std::int64_t new_len, page_size, heads, dim;
  DType src_dtype, page_dtype;
  const float* scales;  // [heads], or null: of quantise, which divides by them
  std::int64_t scales_stride;
};

struct PageCopyParams {
  void* pages;
  const std::int32_t* pairs;  // from, to, …
  StridedAxes axes;           // within a page, in units
  std::int64_t page_stride;   // in units
  std::int64_t page_units;
};

struct GatherParams {
  const void* pages;              // [num_pages, page_size, width]
  void* dst;                      // [len, width] contiguous
  const std::int32_t* page_list;  // from the page of row `begin` on
  std::int64_t page_stride, row_stride, unit_stride;
  std::int64_t page_size, begin, width;
};

inline constexpr int kPagedThreads = 128;
inline constexpr std::int64_t kPageCopyBlocks = 64;  // at most so many blocks share a page

}  // namespace attn::cuda
