#include "ops_support.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>

#include "core/elements.h"
#include "core/error.h"
#include "core/linear.h"
#include "core/merge.h"
#include "core/numbers.h"
#include "core/quantize_float8.h"
#include "core/rms_norm.h"
#include "core/rope.h"
#include "cpu/kernels/float8_rows.h"
#include "cpu/kernels/linear_tile.h"
#include "cpu/kernels/linear_tile_bf16.h"
#include "cpu/kernels/merge_rows.h"
#include "cpu/kernels/register_ops.h"
#include "cpu/kernels/rms_norm_rows.h"
#include "cpu/kernels/rope_rows.h"
#include "threads.h"

namespace attn::cpu::widebf16 {
extern const LinearBf16Table kLinearBf16Table;
}
namespace attn::cpu::wide {
extern const Float8Table kFloat8Table;
extern const LinearTable kLinearTable;
extern const RmsNormTable kRmsNormTable;
extern const RopeTable kRopeTable;
extern const MergeTable kMergeTable;
}  // namespace attn::cpu::wide

namespace attn::test {
namespace {

class InlineBackend : public Backend {
 public:
  DeviceType type() const override { return DeviceType::kCpu; }
  DeviceDescription describe() const override { return {}; }
  MemoryUse memory() const override { return {}; }
  std::byte* allocate(std::int64_t bytes) override {
    auto* data = static_cast<std::byte*>(std::aligned_alloc(64, static_cast<std::size_t>(bytes + 127) / 64 * 64));
    std::memset(data, 0xff, static_cast<std::size_t>(bytes));
    return data;
  }
  void release(std::byte* data, std::int64_t) override { std::free(data); }
  void count_tensor(int) override {}
  std::uint64_t enqueue(std::int64_t workspace_bytes, int threads, CancelFlag, std::function<void(Execution&)> work) override {
    ThreadExecution execution(threads, static_cast<std::size_t>(workspace_bytes));
    work(execution);
    if (!execution.guard_intact()) throw std::runtime_error("a kernel wrote beyond its workspace");
    return ++enqueued_;
  }
  void upload(std::byte* data, const std::byte* host, std::int64_t bytes) override { std::memcpy(data, host, static_cast<std::size_t>(bytes)); }
  void fill_zeros(std::byte* data, std::int64_t bytes) override { std::memset(data, 0, static_cast<std::size_t>(bytes)); }
  void download(const std::byte* data, std::byte* host, std::int64_t bytes, CancelFlag) override { std::memcpy(host, data, static_cast<std::size_t>(bytes)); }
  void when_reached(CancelFlag, std::function<void()> then) override { then(); }
  std::uint64_t last_enqueued() override { return enqueued_; }
  void wait_for(std::uint64_t) override {}
  void wait_for_cancelled(const CancelFlag&) override {}
  std::string failure(bool) override { return ""; }
  int num_threads() const override { return threads_; }
  void set_num_threads(int count) override { threads_ = count; }

 private:
  std::uint64_t enqueued_ = 0;
  int threads_ = 2;
};

/// A row like the last one of its op, with the functions that were compiled for the 16-lane test instruction set.
template <class Problem>
void register_wide(const std::string& name, const void* table) {
  Kernel<Problem> kernel = kernels_of<Problem>(DeviceType::kCpu).back();
  kernel.info.name = name;
  kernel.info.arch = "wide";
  kernel.info.unusable.clear();
  kernel.table = table;
  register_kernel(std::move(kernel));
}

void register_bf16(const std::string& name, const cpu::LinearBf16Table* table) {
  register_kernel(cpu::linear_bf16_kernel({name, "linear", DeviceType::kCpu, "widebf16", mask_of(DType::kBFloat16), "-", ""}, table));
}

/// Calls fn(offset in elements) for every element in row-major order.
template <class Fn>
void for_elements(const TensorView& view, Fn&& fn) {
  for (std::int64_t i = 0; i < view.size(); ++i) {
    std::int64_t rest = i, offset = 0;
    for (int axis = view.rank - 1; axis >= 0; --axis) {
      offset += rest % view.shape[axis] * view.strides[axis];
      rest /= view.shape[axis];
    }
    fn(offset);
  }
}

}  // namespace

Backend& inline_backend() {
  static InlineBackend* backend = new InlineBackend;
  return *backend;
}

std::vector<double> random_values(std::int64_t count, DType dtype, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) {
    with_dtype(dtype, [&](auto d) { value = static_cast<double>(Element<d.value>::load(Element<d.value>::store(uniform(random)))); });
  }
  return values;
}

Tensor make_tensor(DType dtype, const std::vector<std::int64_t>& shape, const std::vector<double>& values) {
  Tensor tensor = empty_tensor(inline_backend(), dtype, shape);
  if (static_cast<std::int64_t>(values.size()) != tensor.view.size()) throw std::logic_error("make_tensor: not as many values as elements");
  numbers_to_dtype(values.data(), tensor.view.size(), dtype, tensor.view.data);
  return tensor;
}

Tensor random_tensor(DType dtype, const std::vector<std::int64_t>& shape, std::uint32_t seed) {
  std::int64_t count = 1;
  for (std::int64_t extent : shape) count *= extent;
  return make_tensor(dtype, shape, random_values(count, dtype, seed));
}

std::vector<double> values_of(const Tensor& tensor) {
  std::vector<double> values;
  with_dtype(tensor.view.dtype, [&](auto d) {
    const auto* data = reinterpret_cast<const typename Element<d.value>::Bits*>(tensor.view.data);
    for_elements(tensor.view, [&](std::int64_t offset) { values.push_back(static_cast<double>(Element<d.value>::load(data[offset]))); });
  });
  return values;
}

std::vector<std::uint8_t> bytes_of(const Tensor& tensor) {
  std::vector<std::uint8_t> bytes;
  const std::int64_t size = dtype_size(tensor.view.dtype);
  for_elements(tensor.view, [&](std::int64_t offset) {
    const auto* element = reinterpret_cast<const std::uint8_t*>(tensor.view.data + offset * size);
    bytes.insert(bytes.end(), element, element + size);
  });
  return bytes;
}

Tensor slice(const Tensor& tensor, int axis, std::int64_t begin, std::int64_t end) {
  Tensor part = tensor;
  part.view.data += begin * part.view.strides[axis] * dtype_size(part.view.dtype);
  part.view.shape[axis] = end - begin;
  return part;
}

Tensor transpose(const Tensor& tensor, int a, int b) {
  Tensor swapped = tensor;
  std::swap(swapped.view.shape[a], swapped.view.shape[b]);
  std::swap(swapped.view.strides[a], swapped.view.strides[b]);
  return swapped;
}

double rounding_unit(DType dtype) { return dtype == DType::kFloat32 ? 0x1p-24 : dtype == DType::kFloat16 ? 0x1p-11 : 0x1p-8; }
double smallest_unit(DType dtype) { return dtype == DType::kFloat16 ? 0x1p-25 : 0x1p-134; }

std::string error_of(const std::function<void()>& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.message;
  }
  return "";
}

void register_test_kernels() {
  static const bool once = [] {
    cpu::register_op_kernels();
    register_wide<LinearProblem>("linear_wide", &cpu::wide::kLinearTable);
    register_bf16("linear_widebf16", &cpu::widebf16::kLinearBf16Table);
    // Where it can run but is not chosen, it is tested all the same.
#if defined(__x86_64__)
    if (cpu::processor_has("avx512bf16")) register_bf16("linear_insisted_avx512bf16", &cpu::avx512bf16::kLinearBf16Table);
#endif
    register_wide<RmsNormProblem>("rms_norm_wide", &cpu::wide::kRmsNormTable);
    register_wide<QuantizeFloat8Problem>("quantize_float8_wide", &cpu::wide::kFloat8Table);
    register_wide<RopeProblem>("rope_wide", &cpu::wide::kRopeTable);
    register_wide<MergeProblem>("merge_wide", &cpu::wide::kMergeTable);
    return true;
  }();
  (void)once;
}

}  // namespace attn::test
