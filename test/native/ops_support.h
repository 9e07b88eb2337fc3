#pragma once
// What the tests of the small ops share: a device that runs work at once, tensors from numbers and back, every kernel in turn.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/registry.h"
#include "core/tensor.h"

namespace attn::test {

/// Runs work when it is enqueued, with real threads and a watched workspace; new memory is NaN in every float type.
Backend& inline_backend();

/// Uniform in (-1, 1), rounded to the dtype.
std::vector<double> random_values(std::int64_t count, DType dtype, std::uint32_t seed);
Tensor make_tensor(DType dtype, const std::vector<std::int64_t>& shape, const std::vector<double>& values);
Tensor random_tensor(DType dtype, const std::vector<std::int64_t>& shape, std::uint32_t seed);
/// Elements in row-major order, whatever the strides.
std::vector<double> values_of(const Tensor& tensor);
std::vector<std::uint8_t> bytes_of(const Tensor& tensor);

/// A view of axes [begin, end) of one axis, and one with two axes swapped.
Tensor slice(const Tensor& tensor, int axis, std::int64_t begin, std::int64_t end);
Tensor transpose(const Tensor& tensor, int a, int b);

/// Half a unit in the last place, relative, and the smallest such unit: what rounding to the dtype may change.
double rounding_unit(DType dtype);
double smallest_unit(DType dtype);

/// The text of the error that fn throws; empty when it throws none.
std::string error_of(const std::function<void()>& fn);

void register_test_kernels();

/// Calls fn(name) with each kernel of the op that this machine has forced in turn: those for all compute dtypes, or those for `dtypes` alone.
template <class Problem>
void for_each_kernel(const std::function<void(const std::string&)>& fn, DTypeMask dtypes = kComputeDTypes) {
  register_test_kernels();
  for (const Kernel<Problem>& kernel : kernels_of<Problem>(DeviceType::kCpu)) {
    if (!kernel.info.unusable.empty() || (kernel.info.dtypes & kComputeDTypes) != dtypes) continue;
    force_kernel(kernel.info.name);
    fn(kernel.info.name);
    force_kernel("");
  }
}

inline constexpr DType kComputeDTypeList[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

}  // namespace attn::test
