#include "core/probe.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "core/registry.h"
#include "cpu/kernels/probe_rows.h"
#include "cpu/kernels/register_ops.h"

namespace attn::cpu {
namespace {

/// More tasks than threads, so that one that was late to wake does not decide the time.
constexpr std::int64_t kTasksPerThread = 8;

std::optional<std::string> reject(const Kernel<ProbeProblem>& self, const ProbeProblem& problem) {
  if (problem.kind != ProbeKind::kBf16Dot) return std::nullopt;
  if (!static_cast<const ProbeTable*>(self.table)->bf16_dot) return std::string(self.info.arch) + " has no dot product of bfloat16";
#ifdef __x86_64__
  if (!__builtin_cpu_supports("avx512bf16")) return "the processor lacks avx512bf16";
#endif
  return std::nullopt;
}

void count_chains(const ProbeTable& table, const ProbeProblem& problem, Execution& execution) {
  const std::int64_t tasks = kTasksPerThread * execution.num_threads;
  std::atomic<double> sum{0};  // of integers: the order does not matter
  execution.parallel_for(tasks, [&](std::int64_t, int) {
    sum += problem.kind == ProbeKind::kBf16Dot ? table.bf16_dot(problem.rounds) : table.multiply_add(problem.rounds, 1, 1);
  });
  // A chain's step is two operations, with pairs four.
  const double factor = problem.kind == ProbeKind::kBf16Dot ? 4 : 2;
  problem.result->checksum = factor * sum;
  problem.result->work = factor * static_cast<double>(tasks * problem.rounds * table.steps);
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

void run(const Kernel<ProbeProblem>& self, const ProbeProblem& problem, Execution& execution) {
  const ProbeTable& table = *static_cast<const ProbeTable*>(self.table);
  const auto began = std::chrono::steady_clock::now();
  (problem.kind == ProbeKind::kRead ? read_passes : count_chains)(table, problem, execution);
  problem.result->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

}  // namespace

void register_probes() {
  // Into the list alone and not with register_kernel: that would enter them in kernels().
#define ATTN_REGISTER(isa)                   \
  kernels_of<ProbeProblem>(DeviceType::kCpu) \
      .push_back({.info = cpu_kernel("probe", "probe", #isa, mask_of(DType::kInt32), "-"), .reject = reject, .run = run, .table = &isa::kProbeTable});
  ATTN_FOR_EACH_ISA(ATTN_REGISTER)
#undef ATTN_REGISTER
}

}  // namespace attn::cpu
