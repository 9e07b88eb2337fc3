#include "core/merge.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/registry.h"
#include "cpu/kernels/merge_rows.h"
#include "cpu/kernels/register_ops.h"

namespace attn::cpu {
namespace {

constexpr std::int64_t kTaskElements = 1 << 13;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// One thread's lists of the states that take part in a row.
struct Scratch {
  double* shares;  // exp(lse - max) of every state
  const std::byte** rows;
  float* weights;
};

std::size_t scratch_bytes(const MergeProblem& problem) {
  return (problem.states.size() * (sizeof(double) + sizeof(std::byte*) + sizeof(float)) + 63) / 64 * 64;
}

Scratch scratch_at(std::byte* memory, std::size_t num_states) {
  std::byte* rows = memory + num_states * sizeof(double);
  return {reinterpret_cast<double*>(memory), reinterpret_cast<const std::byte**>(rows), reinterpret_cast<float*>(rows + num_states * sizeof(std::byte*))};
}

std::byte* row_of(const TensorView& out, std::int64_t b, std::int64_t i, std::int64_t head) {
  return out.data + (b * out.strides[0] + i * out.strides[1] + head * out.strides[2]) * dtype_size(out.dtype);
}

float& lse_of(const TensorView& lse, std::int64_t b, std::int64_t i, std::int64_t head) {
  return reinterpret_cast<float*>(lse.data)[b * lse.strides[0] + head * lse.strides[1] + i * lse.strides[2]];
}

/// FlashAttention-2 and FlashMLA write +inf for a row that saw no key.
float seen(float lse) { return lse == kInfinity ? -kInfinity : lse; }

void merge_row(const MergeTable& table, const MergeProblem& problem, std::int64_t b, std::int64_t i, std::int64_t head, Scratch scratch) {
  const auto& states = problem.states;
  float max = -kInfinity;
  for (const MergeProblem::State& state : states) max = std::fmax(max, seen(lse_of(state.lse, b, i, head)));
  const double origin = max == -kInfinity ? 0 : max;  // -inf - -inf would be NaN
  double sum = 0;
  for (std::size_t s = 0; s < states.size(); ++s) sum += scratch.shares[s] = std::exp(seen(lse_of(states[s].lse, b, i, head)) - origin);
  std::int64_t count = 0;
  for (std::size_t s = 0; s < states.size(); ++s) {
    const float weight = sum == 0 ? 0 : static_cast<float>(scratch.shares[s] / sum);
    if (weight == 0) continue;  // whatever it holds, NaN included, counts for nothing
    scratch.rows[count] = row_of(states[s].out, b, i, head);
    scratch.weights[count++] = weight;
  }
  table.merge({scratch.rows, scratch.weights, count, row_of(problem.result.out, b, i, head), problem.result.out.dtype, problem.dim});
  lse_of(problem.result.lse, b, i, head) = static_cast<float>(origin + std::log(sum));
}

void run(const Kernel<MergeProblem>& self, const MergeProblem& problem, Execution& execution) {
  const MergeTable& table = *static_cast<const MergeTable*>(self.table);
  const std::int64_t rows = problem.batch * problem.len * problem.heads;
  const std::int64_t step = std::max<std::int64_t>(1, kTaskElements / std::max<std::int64_t>(problem.dim, 1));
  execution.parallel_for((rows + step - 1) / step, [&](std::int64_t task, int thread) {
    const Scratch scratch = scratch_at(execution.workspace + static_cast<std::size_t>(thread) * scratch_bytes(problem), problem.states.size());
    for (std::int64_t row = task * step; row < std::min((task + 1) * step, rows); ++row) {
      const std::int64_t token = row / problem.heads;
      merge_row(table, problem, token / problem.len, token % problem.len, row % problem.heads, scratch);
    }
  });
}

std::size_t workspace(const Kernel<MergeProblem>&, const MergeProblem& problem, int num_threads) {
  return static_cast<std::size_t>(num_threads) * scratch_bytes(problem);
}

}  // namespace

void register_merge_kernels() {
#define ATTN_REGISTER(isa)                                                                                \
  register_kernel<MergeProblem>({.info = cpu_kernel("merge", "mergeStates", #isa, kComputeDTypes, "any"), \
                                 .reject = accept<MergeProblem>,                                          \
                                 .workspace = workspace,                                                  \
                                 .run = run,                                                              \
                                 .table = &isa::kMergeTable});
  ATTN_FOR_EACH_ISA(ATTN_REGISTER)
#undef ATTN_REGISTER
}

}  // namespace attn::cpu
