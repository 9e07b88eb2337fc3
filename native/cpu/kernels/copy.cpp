#include "core/copy.h"

#include "core/registry.h"
#include "cpu/kernels/copy_plan.h"
#include "cpu/kernels/register_ops.h"
#include "cpu/pages.h"

namespace attn::cpu {
namespace {

void run(const Kernel<CopyProblem>&, const CopyProblem& problem, Execution& execution) {
  const CopyPlan plan(problem.src, problem.dst);
  const std::int64_t tasks = plan.num_tasks(), bytes = problem.fresh ? problem.dst.size() * dtype_size(problem.dst.dtype) : 0;
  if (bytes > 0) wish_large_pages(problem.dst.data, bytes);
  execution.parallel_for(tasks, [&](std::int64_t task, int) {
    // About what this task writes, and in any case every page once.
    if (bytes > 0) provide_pages(problem.dst.data + bytes * task / tasks, bytes * (task + 1) / tasks - bytes * task / tasks);
    plan.run(task, problem.src.data, problem.dst.data);
  });
}

}  // namespace

void register_copy_kernels() {
  register_kernel<CopyProblem>({.info = cpu_kernel("copy", "copy", "any", kAllDTypes, "-"), .reject = accept<CopyProblem>, .run = run});
}

}  // namespace attn::cpu
