#include "core/quantize_float8.h"

#include <algorithm>
#include <string>

#include "cuda/common/collapse.h"
#include "cuda/kernels/quantize_float8/params.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/kernels/rows.h"
#include "cuda/launch.h"

namespace attn::cuda {
namespace {

using Row = Kernel<QuantizeFloat8Problem>;

constexpr std::int64_t kBlocks = 1024;            // several for each multiprocessor of a large GPU; not tried on one
constexpr std::int64_t kLeastElements = 1 << 13;  // of a chunk, 32 for each thread; not tried either

/// A row of one group of heads, as [heads of a group, dim].
TensorView group_row(TensorView view, std::int64_t group_size) {
  view.rank = 2;
  view.shape = {group_size, view.shape[3]};
  view.strides = {view.strides[2], view.strides[3]};
  return view;
}

std::int64_t groups_of_all(const QuantizeFloat8Problem& p) { return p.num_sequences() * p.num_groups(); }

std::int64_t count_chunks(const QuantizeFloat8Problem& p) {
  const std::int64_t elements = p.longest * p.group_size * p.x.shape[3];
  return std::max<std::int64_t>(1, std::min(divide_up(kBlocks, groups_of_all(p)), divide_up(elements, kLeastElements)));
}

std::int64_t wide_items(const QuantizeFloat8Problem& p) { return 16 / dtype_size(p.x.dtype); }

std::optional<std::string> reject_wide(const Row&, const QuantizeFloat8Problem& p) {
  const std::int64_t items = wide_items(p);
  bool fits = p.x.shape[3] % items == 0 && is_aligned(p.x.data, 16) && is_aligned(p.codes.data, static_cast<std::uintptr_t>(items));
  for (const TensorView* view : {&p.x, &p.codes}) {
    fits = fits && (view->strides[3] == 1 || view->shape[3] <= 1);
    for (int i = 0; i < 3; ++i) fits = fits && (view->shape[i] <= 1 || view->strides[i] % items == 0);
  }
  if (!fits) return "rows of a head must start at, and be, multiples of 16 bytes, and so must their codes of as many elements";
  return std::nullopt;
}

std::size_t floats_of(const QuantizeFloat8Problem& p) { return static_cast<std::size_t>(groups_of_all(p) * count_chunks(p)); }

/// The largest of each chunk, then indptr.
std::size_t workspace(const Row&, const QuantizeFloat8Problem& p, int) {
  if (groups_of_all(p) == 0) return 0;
  return floats_of(p) * sizeof(float) + (p.indptr ? p.indptr->size() * sizeof(std::int32_t) : 0);
}

void launch_quantize(const char* variant, std::int64_t items, const QuantizeFloat8Problem& p, Execution& execution) {
  if (groups_of_all(p) == 0) return;
  auto& gpu = static_cast<CudaExecution&>(execution);
  QuantizeFloat8Params params{};
  params.x = p.x.data;
  params.codes = p.codes.data;
  params.scales = reinterpret_cast<float*>(p.scales.data);
  params.most = reinterpret_cast<float*>(gpu.workspace);
  if (p.indptr) {
    std::byte* indptr = gpu.workspace + floats_of(p) * sizeof(float);
    gpu.upload(indptr, p.indptr->data(), p.indptr->size() * sizeof(std::int32_t));
    params.indptr = reinterpret_cast<const std::int32_t*>(indptr);
  }
  for (int of = 0; of < 2; ++of) {
    const TensorView& view = of == 0 ? p.x : p.codes;
    params.batch_strides[of] = view.strides[0];
    params.row_strides[of] = view.strides[1];
    params.group_strides[of] = view.strides[2] * p.group_size;
    params.scale_strides[of] = p.scales.strides[of];
  }
  params.len = p.x.shape[1];
  params.inner = collapse_axes(group_row(p.x, p.group_size), group_row(p.codes, p.group_size));
  StridedAxes& inner = params.inner;
  inner.extents[inner.count - 1] /= items;
  for (int i = 0; i + 1 < inner.count; ++i) {
    inner.src_strides[i] /= items;
    inner.dst_strides[i] /= items;
  }
  params.units = p.group_size * p.x.shape[3] / items;
  params.groups = p.num_groups();
  params.chunks = static_cast<std::int32_t>(count_chunks(p));
  const Grid grid = {static_cast<unsigned>(groups_of_all(p) * params.chunks)};
  for (const char* step : {"most_", "codes_"}) {
    const std::string kernel = std::string("quantize_float8_") + step + variant + "_" + dtype_name(p.x.dtype);
    gpu.launch("quantize_float8", kernel.c_str(), grid, kQuantizeThreads, 0, params);
  }
}

void run_wide(const Row&, const QuantizeFloat8Problem& p, Execution& execution) { launch_quantize("wide", wide_items(p), p, execution); }
void run_plain(const Row&, const QuantizeFloat8Problem& p, Execution& execution) { launch_quantize("plain", 1, p, execution); }

}  // namespace

void register_quantize_float8_kernels() {
  register_kernel<QuantizeFloat8Problem>(
      {.info = sm80_kernel("quantize_float8_wide", "quantizeFloat8", kComputeDTypes, "any"), .reject = reject_wide, .workspace = workspace, .run = run_wide});
  register_kernel<QuantizeFloat8Problem>({.info = sm80_kernel("quantize_float8_plain", "quantizeFloat8", kComputeDTypes, "any"),
                                          .reject = accept<QuantizeFloat8Problem>,
                                          .workspace = workspace,
                                          .run = run_plain});
}

}  // namespace attn::cuda
