#include "core/rms_norm.h"

#include <algorithm>

#include "core/registry.h"
#include "core/rows.h"
#include "cpu/kernels/register_ops.h"
#include "cpu/kernels/rms_norm_rows.h"

namespace attn::cpu {
namespace {

constexpr std::int64_t kTaskElements = 1 << 14;

void run(const Kernel<RmsNormProblem>& self, const RmsNormProblem& problem, Execution& execution) {
  if (problem.width == 0) return;
  const RmsNormTable& table = *static_cast<const RmsNormTable*>(self.table);
  const std::int64_t element = dtype_size(problem.x.dtype);
  const std::int64_t step = std::max<std::int64_t>(1, kTaskElements / problem.width);
  execution.parallel_for((problem.rows + step - 1) / step, [&](std::int64_t task, int) {
    for (std::int64_t row = task * step; row < std::min((task + 1) * step, problem.rows); ++row) {
      table.normalize({problem.x.data + row_offset(problem.x, row) * element, problem.weight.data, problem.y.data + row_offset(problem.y, row) * element,
                       problem.x.dtype, problem.weight.dtype, problem.width, problem.eps});
    }
  });
}

}  // namespace

void register_rms_norm_kernels() {
#define ATTN_REGISTER(isa)         \
  register_kernel<RmsNormProblem>( \
      {.info = cpu_kernel("rms_norm", "rmsNorm", #isa, kComputeDTypes, "-"), .reject = accept<RmsNormProblem>, .run = run, .table = &isa::kRmsNormTable});
  ATTN_FOR_EACH_ISA(ATTN_REGISTER)
#undef ATTN_REGISTER
}

}  // namespace attn::cpu
