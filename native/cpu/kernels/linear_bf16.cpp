#include <algorithm>

#include "cpu/kernels/linear_tile_bf16.h"
#include "cpu/kernels/register_ops.h"

namespace attn::cpu {
namespace {

constexpr std::int64_t kMinRows = 12;                        // fewer read the weights once and compute little: the kernels for float32 do
constexpr std::int64_t kMaxRows = 512;                       // per pass: the packed x of a product, and the sums, stay in the L2 cache
constexpr std::int64_t kMaxPacked = std::int64_t{32} << 20;  // bytes of packed x of one pass, unless one batch alone takes more
constexpr std::int64_t kMinTaskRows = 64;                    // copying a block of weights for fewer does not pay

constexpr std::int64_t divide_up(std::int64_t n, std::int64_t d) { return (n + d - 1) / d; }

/// How a problem is cut. Only speed and memory depend on it.
struct Cut {
  std::int64_t pass_batch = 0, pass_rows = 0, pass_panels = 0;  // one pass: x packed, then its tasks
  std::int64_t panel_bytes = 0;
  std::int64_t task_panels = 0;
  std::size_t packed_bytes = 0, scratch_bytes = 0;
};

Cut cut_of(const LinearProblem& p, int num_threads) {
  Cut cut;
  cut.pass_rows = divide_up(p.rows, divide_up(p.rows, kMaxRows));
  cut.pass_panels = divide_up(cut.pass_rows, kLinearPanelRows);
  cut.panel_bytes = kLinearPanelRows * p.in_features * 2;
  cut.pass_batch = std::clamp<std::int64_t>(kMaxPacked / std::max<std::int64_t>(cut.pass_panels * cut.panel_bytes, 1), 1, p.batch);
  const std::int64_t tasks = cut.pass_batch * divide_up(p.out_features, kLinearFeatures);
  const std::int64_t shares = std::clamp<std::int64_t>(divide_up(3 * num_threads, tasks), 1, divide_up(cut.pass_rows, kMinTaskRows));
  cut.task_panels = divide_up(cut.pass_panels, shares);
  cut.packed_bytes = static_cast<std::size_t>(cut.pass_batch * cut.pass_panels * cut.panel_bytes);
  cut.scratch_bytes = (linear_columns_scratch(cut.task_panels * kLinearPanelRows) + 63) / 64 * 64;
  return cut;
}

const std::byte* element(const LinearProblem::Matrix& m, std::int64_t batch, std::int64_t row) {
  return m.data + (batch * m.batch_stride + row * m.row_stride) * dtype_size(m.dtype);
}

/// One pass: `batch` products from batch_begin on, their rows [row_begin, row_begin + rows).
void run_pass(const LinearBf16Table& table, const LinearProblem& p, const Cut& cut, std::int64_t batch_begin, std::int64_t batch, std::int64_t row_begin,
              std::int64_t rows, Execution& execution) {
  const std::int64_t panels = divide_up(rows, kLinearPanelRows);
  std::byte* packed = execution.workspace;
  execution.parallel_for(batch * panels, [&](std::int64_t task, int) {
    const std::int64_t r = task % panels * kLinearPanelRows;
    table.pack(element(p.x, batch_begin + task / panels, row_begin + r), p.x.row_stride, std::min(kLinearPanelRows, rows - r), p.in_features,
               packed + task * cut.panel_bytes);
  });
  const std::int64_t row_tasks = divide_up(panels, cut.task_panels), col_tasks = divide_up(p.out_features, kLinearFeatures);
  std::byte* scratch = packed + cut.packed_bytes;
  execution.parallel_for(batch * col_tasks * row_tasks, [&](std::int64_t task, int thread) {
    const std::int64_t panel = task % row_tasks * cut.task_panels, r = panel * kLinearPanelRows;
    const std::int64_t j = task / row_tasks % col_tasks * kLinearFeatures;
    const std::int64_t b = task / row_tasks / col_tasks;
    LinearColumns columns;
    columns.x = packed + (b * panels + panel) * cut.panel_bytes;
    columns.rows = std::min(cut.task_panels * kLinearPanelRows, rows - r);
    columns.weight = element(p.weight, batch_begin + b, j);
    columns.weight_stride = p.weight.row_stride;
    columns.cols = std::min(kLinearFeatures, p.out_features - j);
    columns.depth = p.in_features;
    columns.bias = p.bias ? p.bias + j * dtype_size(p.bias_dtype) : nullptr;
    columns.bias_dtype = p.bias_dtype;
    columns.y = p.y.data + ((batch_begin + b) * p.y.batch_stride + (row_begin + r) * p.y.row_stride + j) * dtype_size(p.y.dtype);
    columns.y_dtype = p.y.dtype;
    columns.y_stride = p.y.row_stride;
    columns.scratch = scratch + thread * cut.scratch_bytes;
    table.multiply(columns);
  });
}

void run(const Kernel<LinearProblem>& self, const LinearProblem& p, Execution& execution) {
  const LinearBf16Table& table = *static_cast<const LinearBf16Table*>(self.table);
  const Cut cut = cut_of(p, execution.num_threads);
  for (std::int64_t b = 0; b < p.batch; b += cut.pass_batch) {
    for (std::int64_t r = 0; r < p.rows; r += cut.pass_rows) {
      run_pass(table, p, cut, b, std::min(cut.pass_batch, p.batch - b), r, std::min(cut.pass_rows, p.rows - r), execution);
    }
  }
}

std::optional<std::string> reject(const Kernel<LinearProblem>&, const LinearProblem& p) {
  if (p.x.dtype != DType::kBFloat16 || p.weight.dtype != DType::kBFloat16) return "takes x and weights of bfloat16";
  if (p.rows < kMinRows) return "takes " + std::to_string(kMinRows) + " rows and more, received " + std::to_string(p.rows);
  if (p.in_features == 0 || p.in_features % 32 != 0) return "takes multiples of 32 input features, received " + std::to_string(p.in_features);
  if (p.batch == 0 || p.out_features == 0) return "takes outputs that are not empty";
  return std::nullopt;
}

std::size_t workspace(const Kernel<LinearProblem>&, const LinearProblem& p, int num_threads) {
  const Cut cut = cut_of(p, num_threads);
  return cut.packed_bytes + static_cast<std::size_t>(num_threads) * cut.scratch_bytes;
}

}  // namespace

Kernel<LinearProblem> linear_bf16_kernel(const KernelInfo& info, const LinearBf16Table* table) {
  return {.info = info, .reject = reject, .workspace = workspace, .run = run, .table = table};
}

void register_linear_bf16_kernels() {
#define ATTN_REGISTER(isa) register_kernel(linear_bf16_kernel(cpu_kernel("linear", "linear", #isa, mask_of(DType::kBFloat16), "-"), &isa::kLinearBf16Table));
  ATTN_FOR_EACH_BF16_ISA(ATTN_REGISTER)
#undef ATTN_REGISTER
}

}  // namespace attn::cpu
