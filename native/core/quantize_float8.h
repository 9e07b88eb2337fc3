#pragma once

#include <cstdint>
#include <optional>

#include "core/enqueue.h"
#include "core/tensor.h"

namespace attn {

/// Codes of float8_e4m3 and what they are multiplied by, as attention takes them: one scale for each sequence and group of heads, in float32.
///
///   amax = the largest |x| that is not NaN;  scale = max(amax / 448, 2^-126), or 1 where amax is 0;  code = x / scale
///
/// divided in float32, rounded to nearest even, beyond ±448 ±448; NaN stays NaN: the codes that a cache of the same scale stores. An infinity makes the
/// scale infinite and all of its group NaN when it is read (0 · inf), as in rows of LatentRow.
struct QuantizeFloat8Problem {
  TensorView x;       // [batch, len, heads, dim] of a compute dtype, any strides; packed sequences: [1, total, heads, dim]
  TensorView codes;   // float8_e4m3 of the same shape, any strides
  TensorView scales;  // float32 [sequences, heads / group_size], any strides
  HostInts indptr;    // [sequences + 1] of packed sequences, else null
  std::int64_t group_size = 1;
  std::int64_t longest = 0;  // rows of the longest sequence

  std::int64_t num_sequences() const { return scales.shape[0]; }
  std::int64_t num_groups() const { return scales.shape[1]; }
  WorkSize work_size() const { return elementwise_size(x, codes, 12); }
};

/// Where the rows of a sequence lie.
struct SequenceRows {
  std::int64_t batch, first, count;  // indices of axes 0 and 1, and how many
};
inline SequenceRows rows_of(const QuantizeFloat8Problem& problem, std::int64_t sequence) {
  if (!problem.indptr) return {sequence, 0, problem.x.shape[1]};
  const std::int32_t* indptr = problem.indptr->data() + sequence;
  return {0, indptr[0], indptr[1] - indptr[0]};
}

struct QuantizedTensor {
  Tensor codes, scales;
};

/// x [batch, len, heads, dim] -> scales [batch, heads / group_size], x [rows, heads, dim] -> scales [heads / group_size], or with indptr
/// [sequences, heads / group_size]. Codes have the shape of x.
QuantizedTensor quantize_float8(const Tensor& x, std::int64_t group_size, const HostInts& indptr, const std::optional<QuantizedTensor>& out);

}  // namespace attn
