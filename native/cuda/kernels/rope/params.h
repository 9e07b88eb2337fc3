#pragma once

#include <cstdint>

namespace attn::cuda {

struct RopeParams {
  const void* x;                  // [batch, len, heads, width], last axis dense
  void* y;                        // as x; may be x itself
  const std::int32_t* positions;  // [batch, len] or null: 0 … len - 1
  const double* turns;            // [dim / 2]: turns per position of each pair
  std::int64_t x_strides[3], y_strides[3];
  std::int64_t positions_batch_stride, positions_row_stride;
  std::int64_t len, heads, width, dim;
  float magnitude;
  bool interleaved;
};

inline constexpr int kRopeThreads = 128;
inline constexpr int kRopeChunk = 512;  // pairs whose cosines and sines are in shared memory at a time

}  // namespace attn::cuda
