#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace attn::cuda {

/// y[b, r, :] = x[b, r, :] · weight[b]ᵀ (+ bias); strides in elements, last axes dense.
struct LinearParams {
  const void* x;       // [batch, rows, in_features]
  const void* weight;  // [batch, out_features, in_features]
  const void* bias;    // [out_features] or null
  void* y;             // [batch, rows, out_features]
  std::int64_t x_batch_stride, x_row_stride;
  std::int64_t weight_batch_stride, weight_row_stride;
  std::int64_t y_batch_stride, y_row_stride;
  std::int64_t rows, in_features, out_features;
  std::int64_t row_tiles, column_tiles;
  DType x_dtype, weight_dtype, bias_dtype, y_dtype;
  bool paired_stores;  // two neighbours of y may be stored as 32 bits
};

/// One block's tile of y and how it is cut; kTileK features of x and weight are in shared memory per stage.
struct LinearTile {
  int rows, columns, k, stages, warps_m, warps_n, warps_k;
};
inline constexpr LinearTile kLargeTile = {128, 128, 32, 4, 2, 4, 1};  // prefill; 64 KiB
inline constexpr LinearTile kMediumTile = {64, 64, 64, 4, 2, 2, 1};   // where large tiles leave processors idle; 64 KiB
inline constexpr LinearTile kDecodeTile = {16, 32, 128, 4, 1, 1, 4};  // up to 16 rows; 48 KiB
inline constexpr LinearTile kPlainTile = {64, 64, 16, 1, 8, 1, 1};    // 256 threads, 4 x 4 outputs each

template <LinearTile kTile>
inline constexpr int kThreads = 32 * kTile.warps_m* kTile.warps_n* kTile.warps_k;
template <LinearTile kTile>
inline constexpr int kStageBytes = (kTile.rows + kTile.columns) * kTile.k * 2;
template <LinearTile kTile>
inline constexpr int kSharedBytes = kTile.stages* kStageBytes<kTile>;

}  // namespace attn::cuda
