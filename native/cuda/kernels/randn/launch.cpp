// The host makes the numbers and uploads them: the same bits on every device, at a speed that tests and examples can live with.

#include <algorithm>
#include <array>
#include <vector>

#include "core/elements.h"
#include "core/randn.h"
#include "core/random.h"
#include "core/registry.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/kernels/rows.h"
#include "cuda/launch.h"

namespace attn::cuda {
namespace {

constexpr std::int64_t kChunk = 1 << 18;  // elements; a multiple of the generator's block

template <DType kDType>
void fill(const RandnProblem& problem, CudaExecution& gpu) {
  using Bits = typename Element<kDType>::Bits;
  const std::int64_t size = problem.out.size();
  std::vector<Bits> chunk(static_cast<std::size_t>(std::min(size, kChunk)));
  for (std::int64_t begin = 0; begin < size; begin += kChunk) {
    const std::int64_t count = std::min(kChunk, size - begin);
    for (std::int64_t i = 0; i < count; i += 4) {
      const auto normals = normal_block(problem.seed, static_cast<std::uint64_t>((begin + i) / 4));
      for (std::int64_t k = 0; k < std::min<std::int64_t>(4, count - i); ++k) {
        chunk[static_cast<std::size_t>(i + k)] = Element<kDType>::store(normals[static_cast<std::size_t>(k)]);
      }
    }
    gpu.upload(problem.out.data + begin * static_cast<std::int64_t>(sizeof(Bits)), chunk.data(), static_cast<std::size_t>(count) * sizeof(Bits));
  }
}

std::optional<std::string> reject(const Kernel<RandnProblem>&, const RandnProblem& problem) {
  if (!problem.out.is_contiguous()) return "out must be contiguous";
  return std::nullopt;
}

void run(const Kernel<RandnProblem>&, const RandnProblem& problem, Execution& execution) {
  with_dtype(problem.out.dtype, [&](auto constant) { fill<constant.value>(problem, static_cast<CudaExecution&>(execution)); });
}

}  // namespace

void register_randn_kernels() {
  register_kernel<RandnProblem>({.info = {"randn_upload", "randn", DeviceType::kCuda, "host", kFloatDTypes, "-", ""}, .reject = reject, .run = run});
}

}  // namespace attn::cuda
