#pragma once

#include <cstdint>

namespace attn::cuda {

struct RopeParams {
  const void* x;                  // [batch, len, heads, width], last axis dense
  void* y;                        // as x, may be x itself; with slots pages [num_pages, page_size, heads, width]
  const std::int32_t* positions;  // [batch, len] or null: 0 … len - 1
  const double* turns;            // [dim / 2]: turns per position of each pair
  std::int64_t x_strides[3], y_strides[3];
  std::int64_t positions_batch_stride, positions_row_stride;
  std::int64_t len, heads, width, dim;
  float magnitude;
  bool interleaved;
  const std::int32_t* slots;  // [batch · len], -1 skips a row; null: y has the rows of x
  std::int64_t page_size;
};

inline constexpr int kRopeThreads = 128;
inline constexpr int kRopeChunk = 512;  // pairs whose cosines and sines are in shared memory at a time

}  // namespace attn::cuda
