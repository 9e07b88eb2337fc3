#include "core/probe.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "core/registry.h"
#include "cpu/kernels/probe_rows.h"
#include "cpu/kernels/probe_tile.h"
#include "cpu/kernels/register_ops.h"

namespace attn::cpu {
namespace {

/// More tasks than threads, so that one that was late to wake does not decide the time.
constexpr std::int64_t kTasksPerThread = 8;

std::optional<std::string> reject(const Kernel<ProbeProblem>& self, const ProbeProblem& problem) {
  if (problem.kind == ProbeKind::kBf16Tile) return "multiplies no tiles";
  if (problem.kind != ProbeKind::kBf16Dot) return std::nullopt;
  if (!static_cast<const ProbeTable*>(self.table)->bf16_dot) return std::string(self.info.arch) + " has no dot product of bfloat16";
#ifdef __x86_64__
  if (!__builtin_cpu_supports("avx512bf16")) return "the processor lacks avx512bf16";
#endif
  return std::nullopt;
}

std::optional<std::string> reject_tile(const Kernel<ProbeProblem>&, const ProbeProblem& problem) {
  if (problem.kind != ProbeKind::kBf16Tile) return "multiplies tiles only";
  if (const char* reason = bf16_tile_missing()) return reason;
  return std::nullopt;
}

/// `chains(rounds)` counts its steps; a round is `steps` of them, a step adds `products`.
template <class Chains>
void count(const ProbeProblem& problem, Execution& execution, std::int64_t steps, int products, Chains chains) {
  const std::int64_t tasks = kTasksPerThread * execution.num_threads;
  std::atomic<double> sum{0};  // of integers: the order does not matter
  execution.parallel_for(tasks, [&](std::int64_t, int) { sum += chains(problem.rounds); });
  problem.result->checksum = 2.0 * products * sum;
  problem.result->work = 2.0 * products * static_cast<double>(tasks * problem.rounds * steps);
}

void count_chains(const ProbeTable& table, const ProbeProblem& problem, Execution& execution) {
  if (problem.kind == ProbeKind::kBf16Dot) return count(problem, execution, table.steps, 2, table.bf16_dot);
  count(problem, execution, table.steps, 1, [&](std::int64_t rounds) { return table.multiply_add(rounds, 1, 1); });
}

void read_passes(const ProbeTable& table, const ProbeProblem& problem, Execution& execution) {
  const std::int64_t words = problem.buffer.size(), tasks = kTasksPerThread * execution.num_threads;
  const std::int32_t* data = reinterpret_cast<const std::int32_t*>(problem.buffer.data);
  std::atomic<std::uint32_t> sum{0};
  // Pass by pass over the whole buffer: a share of it alone would stay in the caches of a core.
  for (std::int64_t pass = 0; pass < problem.rounds; ++pass) {
    execution.parallel_for(tasks, [&](std::int64_t task, int) {
      const std::int64_t begin = words * task / tasks, end = words * (task + 1) / tasks;
      sum += table.read(data + begin, end - begin);
    });
  }
  problem.result->checksum = sum;
  problem.result->work = static_cast<double>(words) * 4 * static_cast<double>(problem.rounds);
}

template <class Work>
void timed(const ProbeProblem& problem, Work work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  problem.result->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

void run(const Kernel<ProbeProblem>& self, const ProbeProblem& problem, Execution& execution) {
  const ProbeTable& table = *static_cast<const ProbeTable*>(self.table);
  timed(problem, [&] { (problem.kind == ProbeKind::kRead ? read_passes : count_chains)(table, problem, execution); });
}

void run_tile(const Kernel<ProbeProblem>&, const ProbeProblem& problem, Execution& execution) {
  timed(problem, [&] { count(problem, execution, kTileSteps, kTileProducts, bf16_tile); });
}

}  // namespace

void register_probes() {
  // Into the list alone and not with register_kernel: that would enter them in kernels().
#define ATTN_REGISTER(isa)                   \
  kernels_of<ProbeProblem>(DeviceType::kCpu) \
      .push_back({.info = cpu_kernel("probe", "probe", #isa, mask_of(DType::kInt32), "-"), .reject = reject, .run = run, .table = &isa::kProbeTable});
  ATTN_FOR_EACH_ISA(ATTN_REGISTER)
#undef ATTN_REGISTER
  KernelInfo info;
  info.name = "probe_tile";
  info.op = "probe";
  info.dtypes = mask_of(DType::kInt32);
  kernels_of<ProbeProblem>(DeviceType::kCpu).push_back({.info = info, .reject = reject_tile, .run = run_tile});
}

}  // namespace attn::cpu
