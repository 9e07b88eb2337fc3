#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace attn::cuda {

/// Strides in elements.
struct LatentAppendParams {
  const void *ckv, *k_pe;     // [batch, new_len, 512] and [.., 64] of one dtype each
  std::byte* latents;         // rows of LatentRow, one behind the other
  const std::int32_t* slots;  // [rows], -1 skips a row; the rest were checked on the host
  std::int64_t ckv_strides[3], k_pe_strides[3];
  std::int64_t rows, new_len;
  DType ckv_dtype, k_pe_dtype;
};

struct LatentGatherParams {
  const std::byte* latents;
  void* dst;                      // [rows, 576] contiguous
  const std::int32_t* page_list;  // of the pages that hold row `begin` and those behind it
  std::int64_t page_size, begin, rows;
  DType dtype;
};

/// A warp per row.
inline constexpr int kLatentRowThreads = 128;

}  // namespace attn::cuda
