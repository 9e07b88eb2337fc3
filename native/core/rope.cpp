#include "core/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/paged_kv.h"
#include "core/rows.h"

namespace attn {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

/// Llama 3.1: pairs that turn often within the original context stay, slow ones are divided, a linear blend between.
double llama3_frequency(double frequency, const RopeOptions& o) {
  const double turns = o.original_max_positions * frequency / kTurn;  // within the original context
  if (turns > o.high_freq_factor) return frequency;
  if (turns < o.low_freq_factor) return frequency / o.factor;
  if (o.high_freq_factor == o.low_freq_factor) return frequency;
  const double keep = (turns - o.low_freq_factor) / (o.high_freq_factor - o.low_freq_factor);
  return (1 - keep) * frequency / o.factor + keep * frequency;
}

/// The (fractional) pair that makes `turns` turns within the original context.
double yarn_pair(double turns, const RopeOptions& o) { return o.dim * std::log(o.original_max_positions / (turns * kTurn)) / (2 * std::log(o.theta)); }

/// Peng et al., "YaRN: efficient context window extension of large language models", 2023.
double yarn_frequency(double frequency, int pair, const RopeOptions& o) {
  const double low = std::max(std::floor(yarn_pair(o.beta_fast, o)), 0.0);
  const double high = std::min(std::ceil(yarn_pair(o.beta_slow, o)), o.dim - 1.0);
  const double width = high == low ? 0.001 : high - low;  // as every implementation, so that the ramp is a step
  const double divided = std::clamp((pair - low) / width, 0.0, 1.0);
  return frequency / o.factor * divided + frequency * (1 - divided);
}

void check_inputs(const Tensor& x, const std::optional<Tensor>& positions, const RopeOptions& options) {
  check_rank("x", x.view, 4, "[batch, len, heads, width]");
  check_compute_dtype("x", x.view);
  const std::int64_t width = x.view.shape[3];
  if (options.dim < 2 || options.dim % 2 != 0 || options.dim > width) {
    fail_argument(ErrorCode::kInvalidArgument, "dim", "an even number from 2 to the width of x (" + std::to_string(width) + ")", std::to_string(options.dim));
  }
  if (!positions) return;
  check_rank("positions", positions->view, 2, "[batch, len]");
  check_dim("positions", positions->view, 0, x.view.shape[0], "batch");
  check_dim("positions", positions->view, 1, x.view.shape[1], "len");
  check_dtype("positions", positions->view, DType::kInt32);
  check_same_device("positions", positions->view, "x", x.view);
}

/// All but y. The tensors that it points into are added to `keep`.
RopeProblem problem_of(const Tensor& x, const std::optional<Tensor>& positions, const RopeOptions& options, std::vector<Tensor>& keep) {
  const Tensor x_rows = with_dense_rows(x);
  RopeProblem problem;
  problem.x = x_rows.view;
  problem.dim = options.dim;
  problem.interleaved = options.interleaved;
  problem.magnitude = options.magnitude;
  problem.inverse_frequencies = std::make_shared<const std::vector<double>>(rope_inverse_frequencies(options));
  keep.push_back(x_rows);
  if (positions) {
    problem.positions = reinterpret_cast<const std::int32_t*>(positions->view.data);
    problem.positions_batch_stride = positions->view.strides[0];
    problem.positions_row_stride = positions->view.strides[1];
    keep.push_back(*positions);
  }
  return problem;
}

}  // namespace

std::vector<double> rope_inverse_frequencies(const RopeOptions& options) {
  std::vector<double> frequencies(static_cast<std::size_t>(options.dim / 2));
  for (int i = 0; i < options.dim / 2; ++i) {
    const double frequency = std::pow(options.theta, -2.0 * i / options.dim);
    double& scaled = frequencies[static_cast<std::size_t>(i)];
    switch (options.scaling) {
      case RopeScaling::kNone: scaled = frequency; break;
      case RopeScaling::kLinear: scaled = frequency / options.factor; break;
      case RopeScaling::kLlama3: scaled = llama3_frequency(frequency, options); break;
      case RopeScaling::kYarn: scaled = yarn_frequency(frequency, i, options); break;
    }
  }
  return frequencies;
}

Tensor rope(const Tensor& x, const std::optional<Tensor>& positions, const std::optional<Tensor>& out, const RopeOptions& options) {
  check_inputs(x, positions, options);
  if (out) {
    check_out(out->view, x.view, "x");
    if (!is_same_view(out->view, x.view)) check_no_overlap("out", out->view, "x", x.view);
    if (positions) check_no_overlap("out", out->view, "positions", positions->view);
  }
  Backend& backend = x.storage->backend();
  std::vector<Tensor> keep;
  RopeProblem problem = problem_of(x, positions, options, keep);
  const OutRows y = out_rows(backend, out, x.view.dtype, shape_of(x.view), false);
  problem.y = y.rows.view;
  keep.push_back(y.rows);
  enqueue_kernel(backend, "rope", std::move(problem), std::move(keep));
  y.finish();
  return y.out;
}

void rope_append(const Tensor& src, const Tensor& pages, HostInts slots, const std::optional<Tensor>& scales, const std::optional<Tensor>& positions,
                 const RopeOptions& options) {
  Backend& backend = src.storage->backend();
  check_inputs(src, positions, options);
  check_append(src, pages, *slots, scales);
  const bool fused = src.view.dtype == pages.view.dtype && pages.view.strides[3] == 1 && !kernels_of<RopeAppendProblem>(backend.type()).empty();
  if (!fused) return paged_append(rope(src, positions, std::nullopt, options), pages, std::move(slots), scales);
  std::vector<Tensor> keep = {pages};
  RopeAppendProblem problem;
  problem.rope = problem_of(src, positions, options, keep);
  problem.rope.y = pages.view;
  problem.slots = std::move(slots);
  enqueue_kernel(backend, "ropeAppend", std::move(problem), std::move(keep));
}

}  // namespace attn
