#include "core/randn.h"

#include <algorithm>

#include "core/elements.h"
#include "core/random.h"
#include "core/registry.h"
#include "cpu/kernels/register_ops.h"

namespace attn::cpu {
namespace {

constexpr std::int64_t kTaskElements = 1 << 14;  // a multiple of the generator's block

/// Where element i of a tensor lies.
std::int64_t element_offset(const TensorView& view, std::int64_t i) {
  std::int64_t offset = 0;
  for (int axis = view.rank - 1; axis >= 0; --axis) {
    offset += i % view.shape[axis] * view.strides[axis];
    i /= view.shape[axis];
  }
  return offset;
}

template <DType kDType>
void fill(const RandnProblem& problem, bool dense, std::int64_t begin, std::int64_t end) {
  auto* out = reinterpret_cast<typename Element<kDType>::Bits*>(problem.out.data);
  for (std::int64_t i = begin; i < end; i += 4) {
    const auto normals = normal_block(problem.seed, static_cast<std::uint64_t>(i / 4));
    for (std::int64_t k = 0; k < std::min<std::int64_t>(4, end - i); ++k) {
      out[dense ? i + k : element_offset(problem.out, i + k)] = Element<kDType>::store(normals[static_cast<std::size_t>(k)]);
    }
  }
}

void run(const Kernel<RandnProblem>&, const RandnProblem& problem, Execution& execution) {
  const std::int64_t size = problem.out.size();
  const bool dense = problem.out.is_contiguous();
  execution.parallel_for((size + kTaskElements - 1) / kTaskElements, [&](std::int64_t task, int) {
    const std::int64_t begin = task * kTaskElements;
    const std::int64_t end = std::min(begin + kTaskElements, size);
    with_dtype(problem.out.dtype, [&](auto constant) { fill<constant.value>(problem, dense, begin, end); });
  });
}

}  // namespace

void register_randn_kernels() {
  register_kernel<RandnProblem>({.info = cpu_kernel("randn", "randn", "any", kFloatDTypes, "-"), .reject = accept<RandnProblem>, .run = run});
}

}  // namespace attn::cpu
