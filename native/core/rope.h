#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/enqueue.h"
#include "core/tensor.h"

namespace attn {

/// Rotates the last `dim` features of x [batch, len, heads, width] by position; the features before are copied.
/// Source: Su et al., "RoFormer: enhanced transformer with rotary position embedding", 2021.
struct RopeProblem {
  TensorView x, y;                          // last axis stride 1; y may be x itself
  const std::int32_t* positions = nullptr;  // [batch, len] or null: 0 … len - 1
  std::int64_t positions_batch_stride = 0, positions_row_stride = 1;
  int dim = 0;
  bool interleaved = false;                                        // pairs (2i, 2i + 1), otherwise (i, i + dim / 2)
  std::shared_ptr<const std::vector<double>> inverse_frequencies;  // [dim / 2], scaling applied
  double magnitude = 1;                                            // on cos and sin (YaRN)

  /// Sines and cosines, once a row, take as long as the rest of many heads.
  WorkSize work_size() const {
    WorkSize size = elementwise_size(x, x, 8);
    size.operations += 200.0 * dim * static_cast<double>(x.shape[0] * x.shape[1]);
    return size;
  }
};

/// Rotates rows and stores each in its slot of a cache's pages: rope and then pagedAppend, the same bits, in one pass over the rows.
struct RopeAppendProblem {
  RopeProblem rope;  // y: pages [num_pages, page_size, heads, width] of the dtype of x
  HostInts slots;    // [batch · len]: page · page_size + offset, -1 skips a row

  WorkSize work_size() const { return rope.work_size(); }
};

enum class RopeScaling { kNone, kLinear, kLlama3, kYarn };

struct RopeOptions {
  int dim = 0;  // even, 2 … width
  bool interleaved = false;
  double theta = 10000;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1;                                 // every scaling
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double original_max_positions = 0;                 // llama3, yarn
  double beta_fast = 32, beta_slow = 1;              // yarn
  double magnitude = 1;                              // on cos and sin
};

/// Radians per position of each pair, [dim / 2]: theta^(-2i / dim) with the scaling applied.
std::vector<double> rope_inverse_frequencies(const RopeOptions& options);

/// x [batch, len, heads, width], positions [batch, len] int32 -> as x. `out` may be x itself.
Tensor rope(const Tensor& x, const std::optional<Tensor>& positions, const std::optional<Tensor>& out, const RopeOptions& options);

/// What paged_append stores, after rope: src [batch, newLen, heads, width], positions [batch, newLen] int32. On devices without a kernel that
/// does both, and where the pages have another dtype (float8_e4m3 with its scales), these are two steps.
void rope_append(const Tensor& src, const Tensor& pages, HostInts slots, const std::optional<Tensor>& scales, const std::optional<Tensor>& positions,
                 const RopeOptions& options);

}  // namespace attn
