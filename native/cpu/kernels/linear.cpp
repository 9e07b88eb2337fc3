#include "core/linear.h"

#include <algorithm>

#include "core/registry.h"
#include "cpu/kernels/linear_tile.h"
#include "cpu/kernels/register_ops.h"

namespace attn::cpu {
namespace {

constexpr std::int64_t kMinPackedRows = 12;           // measured: below, packing costs more than it saves
constexpr std::int64_t kMaxRows = 512;                // per pass: bounds the workspace, and pays for packing many times over
constexpr std::int64_t kMinTileRows = 48;             // splitting rows further would repeat the packing too often
constexpr std::int64_t kWideTilesPerThread = 6;       // fewer would leave threads idle at the end
constexpr std::int64_t kMaxXFloats = 8 << 20;         // x of one pass in float32: 32 MiB, unless one batch alone takes more
constexpr std::int64_t kDirectTaskWeights = 1 << 16;  // weights that one direct task reads

constexpr std::int64_t divide_up(std::int64_t n, std::int64_t d) { return (n + d - 1) / d; }
constexpr std::int64_t align_up(std::int64_t n, std::int64_t unit) { return divide_up(n, unit) * unit; }

/// Floats from row to row of x in float32: rows a power of two apart would evict each other from the L1 cache.
std::int64_t x_stride(const LinearProblem& p) { return align_up(p.in_features, 16) + 16; }

/// How a problem is cut. Only speed and memory depend on it: the tiles sum in an order of their own.
struct Cut {
  bool packed = false;
  std::int64_t pass_batch = 0, pass_rows = 0;  // one pass: x in float32, then its tiles
  std::int64_t tile_rows = 0, tile_cols = 0;
  std::int64_t x_floats = 0, scratch_floats = 0;
};

Cut cut_of(const LinearProblem& p, int num_threads) {
  Cut cut;
  cut.packed = p.rows >= kMinPackedRows;
  cut.pass_rows = divide_up(p.rows, divide_up(p.rows, kMaxRows));
  const std::int64_t batch_floats = std::max<std::int64_t>(cut.pass_rows * p.in_features, 1);
  cut.pass_batch = std::clamp<std::int64_t>(kMaxXFloats / batch_floats, 1, p.batch);
  cut.tile_rows = cut.pass_rows;
  if (cut.packed) {
    // Wide tiles where enough of them remain: x comes from the last cache or from memory once for each.
    const bool wide = cut.pass_batch * p.out_features >= kWideTilesPerThread * num_threads * 2 * kLinearColAlign;
    cut.tile_cols = wide ? 2 * kLinearColAlign : kLinearColAlign;
    const std::int64_t tiles = cut.pass_batch * divide_up(p.out_features, cut.tile_cols);
    const std::int64_t shares = std::clamp<std::int64_t>(divide_up(3 * num_threads, tiles), 1, divide_up(cut.pass_rows, kMinTileRows));
    cut.tile_rows = divide_up(cut.pass_rows, shares);
  } else {
    const std::int64_t wanted = kDirectTaskWeights / std::max<std::int64_t>(p.in_features, 1);
    const std::int64_t fair = cut.pass_batch * p.out_features / (4 * num_threads);
    cut.tile_cols = align_up(std::clamp<std::int64_t>(std::min(wanted, fair), 16, 512), 16);
  }
  if (p.x.dtype != DType::kFloat32) cut.x_floats = cut.pass_batch * cut.pass_rows * x_stride(p);
  cut.scratch_floats = linear_scratch_floats(cut.tile_rows, cut.tile_cols, cut.packed);
  return cut;
}

/// x of one pass in float32: the tensor itself, or the workspace.
struct FloatRows {
  const float* data;
  std::int64_t batch_stride, row_stride;
};

const std::byte* element(const LinearProblem::Matrix& m, std::int64_t batch, std::int64_t row) {
  return m.data + (batch * m.batch_stride + row * m.row_stride) * dtype_size(m.dtype);
}

FloatRows float_rows(const LinearTable& table, const LinearProblem& p, std::int64_t batch_begin, std::int64_t batch, std::int64_t row_begin, std::int64_t rows,
                     Execution& execution) {
  if (p.x.dtype == DType::kFloat32) return {reinterpret_cast<const float*>(element(p.x, batch_begin, row_begin)), p.x.batch_stride, p.x.row_stride};
  float* floats = reinterpret_cast<float*>(execution.workspace);
  const std::int64_t step = std::max<std::int64_t>(1, (1 << 14) / std::max<std::int64_t>(p.in_features, 1));
  execution.parallel_for(divide_up(batch * rows, step), [&](std::int64_t task, int) {
    for (std::int64_t i = task * step; i < std::min((task + 1) * step, batch * rows); ++i) {
      table.to_float(element(p.x, batch_begin + i / rows, row_begin + i % rows), p.x.dtype, floats + i * x_stride(p), p.in_features);
    }
  });
  return {floats, rows * x_stride(p), x_stride(p)};
}

void run_tiles(const LinearTable& table, const LinearProblem& p, const Cut& cut, const FloatRows& x, std::int64_t batch_begin, std::int64_t batch,
               std::int64_t row_begin, std::int64_t rows, Execution& execution) {
  float* scratch = reinterpret_cast<float*>(execution.workspace) + cut.x_floats;
  const std::int64_t row_tiles = divide_up(rows, cut.tile_rows), col_tiles = divide_up(p.out_features, cut.tile_cols);
  execution.parallel_for(batch * col_tiles * row_tiles, [&](std::int64_t task, int thread) {
    const std::int64_t r = task % row_tiles * cut.tile_rows;
    const std::int64_t j = task / row_tiles % col_tiles * cut.tile_cols;
    const std::int64_t b = task / row_tiles / col_tiles;
    LinearTile tile;
    tile.x = x.data + b * x.batch_stride + r * x.row_stride;
    tile.x_stride = x.row_stride;
    tile.rows = std::min(cut.tile_rows, rows - r);
    tile.weight = element(p.weight, batch_begin + b, j);
    tile.weight_dtype = p.weight.dtype;
    tile.weight_stride = p.weight.row_stride;
    tile.cols = std::min(cut.tile_cols, p.out_features - j);
    tile.depth = p.in_features;
    tile.bias = p.bias ? p.bias + j * dtype_size(p.bias_dtype) : nullptr;
    tile.bias_dtype = p.bias_dtype;
    tile.y = p.y.data + ((batch_begin + b) * p.y.batch_stride + (row_begin + r) * p.y.row_stride + j) * dtype_size(p.y.dtype);
    tile.y_dtype = p.y.dtype;
    tile.y_stride = p.y.row_stride;
    tile.scratch = scratch + thread * cut.scratch_floats;
    cut.packed ? table.multiply_packed(tile) : table.multiply_direct(tile);
  });
}

bool is_empty(const LinearProblem& p) { return p.batch == 0 || p.rows == 0 || p.out_features == 0; }

void run(const Kernel<LinearProblem>& self, const LinearProblem& p, Execution& execution) {
  if (is_empty(p)) return;
  const LinearTable& table = *static_cast<const LinearTable*>(self.table);
  const Cut cut = cut_of(p, execution.num_threads);
  for (std::int64_t b = 0; b < p.batch; b += cut.pass_batch) {
    for (std::int64_t r = 0; r < p.rows; r += cut.pass_rows) {
      const std::int64_t batch = std::min(cut.pass_batch, p.batch - b), rows = std::min(cut.pass_rows, p.rows - r);
      const FloatRows x = float_rows(table, p, b, batch, r, rows, execution);
      run_tiles(table, p, cut, x, b, batch, r, rows, execution);
    }
  }
}

std::size_t workspace(const Kernel<LinearProblem>&, const LinearProblem& p, int num_threads) {
  if (is_empty(p)) return 0;
  const Cut cut = cut_of(p, num_threads);
  return static_cast<std::size_t>(cut.x_floats + num_threads * cut.scratch_floats) * sizeof(float);
}

}  // namespace

void register_linear_kernels() {
#define ATTN_REGISTER(isa)                                                                           \
  register_kernel<LinearProblem>({.info = cpu_kernel("linear", "linear", #isa, kComputeDTypes, "-"), \
                                  .reject = accept<LinearProblem>,                                   \
                                  .workspace = workspace,                                            \
                                  .run = run,                                                        \
                                  .table = &isa::kLinearTable});
  ATTN_FOR_EACH_ISA(ATTN_REGISTER)
#undef ATTN_REGISTER
}

}  // namespace attn::cpu
