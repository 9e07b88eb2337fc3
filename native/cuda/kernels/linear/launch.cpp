#include "core/linear.h"

#include <algorithm>

#include "cuda/kernels/linear/params.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/kernels/rows.h"
#include "cuda/launch.h"

namespace attn::cuda {
namespace {

/// Of the tiles for more rows, whichever is chosen.
constexpr int kLargestSharedBytes = std::max(kSharedBytes<kLargeTile>, kSharedBytes<kMediumTile>);

bool is_empty(const LinearProblem& p) { return p.batch == 0 || p.rows == 0 || p.out_features == 0; }

/// Rows that 16-byte copies can fetch.
bool has_aligned_rows(const LinearProblem::Matrix& m) { return is_aligned(m.data, 16) && m.batch_stride % 8 == 0 && m.row_stride % 8 == 0; }

std::optional<std::string> reject_tile(const Kernel<LinearProblem>&, const LinearProblem& p) {
  if (p.x.dtype != DType::kFloat16 && p.x.dtype != DType::kBFloat16) return "x must be float16 or bfloat16";
  if (p.weight.dtype != p.x.dtype || p.y.dtype != p.x.dtype) return "x, weight and out must have the same dtype";
  if (p.in_features % 8 != 0) return "inFeatures must be a multiple of 8";
  if (!has_aligned_rows(p.x) || !has_aligned_rows(p.weight)) return "rows of x and weight must be aligned to 16 bytes";
  return shared_memory_missing(p.rows <= kDecodeTile.rows ? kSharedBytes<kDecodeTile> : kLargestSharedBytes);
}

LinearParams params_of(const LinearProblem& p, const LinearTile& tile) {
  LinearParams params{};
  params.x = p.x.data;
  params.weight = p.weight.data;
  params.bias = p.bias;
  params.y = p.y.data;
  params.x_batch_stride = p.x.batch_stride;
  params.x_row_stride = p.x.row_stride;
  params.weight_batch_stride = p.weight.batch_stride;
  params.weight_row_stride = p.weight.row_stride;
  params.y_batch_stride = p.y.batch_stride;
  params.y_row_stride = p.y.row_stride;
  params.rows = p.rows;
  params.in_features = p.in_features;
  params.out_features = p.out_features;
  params.row_tiles = divide_up(p.rows, tile.rows);
  params.column_tiles = divide_up(p.out_features, tile.columns);
  params.x_dtype = p.x.dtype;
  params.weight_dtype = p.weight.dtype;
  params.bias_dtype = p.bias_dtype;
  params.y_dtype = p.y.dtype;
  params.paired_stores = is_aligned(p.y.data, 4) && p.y.batch_stride % 2 == 0 && p.y.row_stride % 2 == 0;
  return params;
}

template <LinearTile kTile>
void launch_tile(const LinearProblem& p, CudaExecution& gpu, const char* kernel, int shared_bytes) {
  const LinearParams params = params_of(p, kTile);
  const std::int64_t blocks = p.batch * params.row_tiles * params.column_tiles;
  gpu.launch("linear", kernel, {static_cast<unsigned>(blocks)}, kThreads<kTile>, static_cast<unsigned>(shared_bytes), params);
}

/// All tiles but decode's add the products of an output in the same order, so the number of processors does not change results.
void run_tile(const Kernel<LinearProblem>&, const LinearProblem& p, Execution& execution) {
  if (is_empty(p)) return;
  auto& gpu = static_cast<CudaExecution&>(execution);
  const bool f16 = p.x.dtype == DType::kFloat16;
  const std::int64_t large_tiles = p.batch * divide_up(p.rows, kLargeTile.rows) * divide_up(p.out_features, kLargeTile.columns);
  if (p.rows <= kDecodeTile.rows) {
    launch_tile<kDecodeTile>(p, gpu, f16 ? "linear_decode_f16" : "linear_decode_bf16", kSharedBytes<kDecodeTile>);
  } else if (p.rows <= kMediumTile.rows || large_tiles < gpu.device().num_sms) {
    launch_tile<kMediumTile>(p, gpu, f16 ? "linear_medium_f16" : "linear_medium_bf16", kSharedBytes<kMediumTile>);
  } else {
    launch_tile<kLargeTile>(p, gpu, f16 ? "linear_large_f16" : "linear_large_bf16", kSharedBytes<kLargeTile>);
  }
}

void run_plain(const Kernel<LinearProblem>&, const LinearProblem& p, Execution& execution) {
  if (is_empty(p)) return;
  launch_tile<kPlainTile>(p, static_cast<CudaExecution&>(execution), "linear_plain_any", 0);
}

}  // namespace

void register_linear_kernels() {
  constexpr DTypeMask kHalfDTypes = mask_of(DType::kFloat16) | mask_of(DType::kBFloat16);
  register_kernel<LinearProblem>({.info = sm80_kernel("linear_tile", "linear", kHalfDTypes, "-"), .reject = reject_tile, .run = run_tile});
  register_kernel<LinearProblem>({.info = sm80_kernel("linear_plain", "linear", kComputeDTypes, "-"), .reject = accept<LinearProblem>, .run = run_plain});
}

}  // namespace attn::cuda
