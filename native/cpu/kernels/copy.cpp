#include "core/copy.h"

#include "core/registry.h"
#include "cpu/kernels/copy_plan.h"
#include "cpu/kernels/register_ops.h"

namespace attn::cpu {
namespace {

void run(const Kernel<CopyProblem>&, const CopyProblem& problem, Execution& execution) {
  const CopyPlan plan(problem.src, problem.dst);
  execution.parallel_for(plan.num_tasks(), [&](std::int64_t task, int) { plan.run(task, problem.src.data, problem.dst.data); });
}

}  // namespace

void register_copy_kernels() {
  register_kernel<CopyProblem>({.info = cpu_kernel("copy", "copy", "any", kAllDTypes, "-"), .reject = accept<CopyProblem>, .run = run});
}

}  // namespace attn::cpu
