#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/common/strided.h"

namespace attn::cuda {

/// Strides in elements. A block owns chunk `blockIdx.x % chunks` of the rows of one sequence and group of heads, number blockIdx.x / chunks.
struct QuantizeFloat8Params {
  const void* x;                                                    // [batch, len, heads, dim]; packed sequences: [1, total, heads, dim]
  void* codes;                                                      // e4m3 of the same shape
  float* scales;                                                    // [sequences, groups]
  float* most;                                                      // [sequences · groups, chunks]: the largest |x| of each
  const std::int32_t* indptr;                                       // [sequences + 1], or null
  std::int64_t batch_strides[2], row_strides[2], group_strides[2];  // of x and of codes
  std::int64_t scale_strides[2];
  std::int64_t len;    // rows of every sequence where there is no indptr
  StridedAxes inner;   // a row of a group, in units of the kernel: src is x, dst is codes
  std::int64_t units;  // of a row of a group
  std::int64_t groups;
  std::int32_t chunks;
};

inline constexpr int kQuantizeThreads = 256;

}  // namespace attn::cuda
