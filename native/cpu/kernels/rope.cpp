#include "core/rope.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/registry.h"
#include "cpu/kernels/register_ops.h"
#include "cpu/kernels/rope_rows.h"

namespace attn::cpu {
namespace {

constexpr std::int64_t kTaskElements = 1 << 13;

std::size_t angle_bytes(const RopeProblem& problem) { return (2 * static_cast<std::size_t>(problem.dim) * sizeof(float) + 63) / 64 * 64; }

/// Cosines and sines of a token, shared by all of its heads, as RopeRow wants them. Angles are float64: a float32 one is
/// off by 0.001 radians at position 16,384 already.
void fill_angles(const RopeProblem& problem, std::int64_t position, float* cos, float* sin) {
  const std::vector<double>& frequencies = *problem.inverse_frequencies;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double angle = static_cast<double>(position) * frequencies[i];
    const float c = static_cast<float>(std::cos(angle) * problem.magnitude), s = static_cast<float>(std::sin(angle) * problem.magnitude);
    if (problem.interleaved) {
      cos[2 * i] = cos[2 * i + 1] = c;
      sin[2 * i] = -s;
      sin[2 * i + 1] = s;
    } else {
      cos[i] = c;
      sin[i] = s;
    }
  }
}

void rotate_token(const RopeTable& table, const RopeProblem& problem, std::int64_t b, std::int64_t i, float* cos) {
  float* sin = cos + problem.dim;
  const std::int64_t position = problem.positions ? problem.positions[b * problem.positions_batch_stride + i * problem.positions_row_stride] : i;
  fill_angles(problem, position, cos, sin);
  const TensorView &x = problem.x, &y = problem.y;
  const std::int64_t element = dtype_size(x.dtype);
  const std::int64_t before = (x.shape[3] - problem.dim) * element;
  for (std::int64_t head = 0; head < x.shape[2]; ++head) {
    const std::byte* from = x.data + (b * x.strides[0] + i * x.strides[1] + head * x.strides[2]) * element;
    std::byte* to = y.data + (b * y.strides[0] + i * y.strides[1] + head * y.strides[2]) * element;
    if (to != from && before > 0) std::memcpy(to, from, static_cast<std::size_t>(before));
    const RopeRow row{from + before, to + before, x.dtype, cos, sin, problem.dim};
    problem.interleaved ? table.rotate_interleaved(row) : table.rotate_halves(row);
  }
}

void run(const Kernel<RopeProblem>& self, const RopeProblem& problem, Execution& execution) {
  if (problem.x.size() == 0) return;
  const RopeTable& table = *static_cast<const RopeTable*>(self.table);
  const std::int64_t len = problem.x.shape[1], tokens = problem.x.shape[0] * len;
  const std::int64_t step = std::max<std::int64_t>(1, kTaskElements / (problem.x.shape[2] * problem.x.shape[3]));
  execution.parallel_for((tokens + step - 1) / step, [&](std::int64_t task, int thread) {
    float* angles = reinterpret_cast<float*>(execution.workspace + static_cast<std::size_t>(thread) * angle_bytes(problem));
    for (std::int64_t token = task * step; token < std::min((task + 1) * step, tokens); ++token) {
      rotate_token(table, problem, token / len, token % len, angles);
    }
  });
}

std::size_t workspace(const Kernel<RopeProblem>&, const RopeProblem& problem, int num_threads) {
  return static_cast<std::size_t>(num_threads) * angle_bytes(problem);
}

}  // namespace

void register_rope_kernels() {
#define ATTN_REGISTER(isa)                                                                       \
  register_kernel<RopeProblem>({.info = cpu_kernel("rope", "rope", #isa, kComputeDTypes, "any"), \
                                .reject = accept<RopeProblem>,                                   \
                                .workspace = workspace,                                          \
                                .run = run,                                                      \
                                .table = &isa::kRopeTable});
  ATTN_FOR_EACH_ISA(ATTN_REGISTER)
#undef ATTN_REGISTER
}

}  // namespace attn::cpu
