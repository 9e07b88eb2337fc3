// y = x Wᵀ (+ bias) for a tile of output features, accumulated in float32.
// Packed: C += X[:, block] · panel, block by block of the depth; a panel is W transposed, converted once for all rows.
// Direct: kLanes dot products at a time (features x rows), so that one tree of additions reduces them all.
// Scratch: C [rows, cols], and for packed tiles one panel [kLinearPanelDepth, cols]. Any dtypes, any sizes.

#include "cpu/kernels/linear_tile.h"

#include "cpu/kernels/gemm_tile.h"

namespace attn::cpu::ATTN_ISA {

extern const LinearTable kLinearTable;

namespace {

static_assert(kLinearColAlign % kGemmCols == 0, "tiles are whole panels");

// Wide tiles move their sums so fast that longer panels pay although they leave the L1 cache; with 8 lanes they do not.
constexpr std::int64_t kPanelDepth = kLanes == 16 ? kLinearPanelDepth : kLinearPanelDepth / 2;
constexpr std::int64_t kRowsInL2 = 96;  // rows of x against which all panels of a block run before the next rows come

ATTN_INLINE std::int64_t row_floats(const LinearTile& tile) { return round_up(tile.cols, kLinearColAlign); }

// ── the end of both ways: C + bias -> y ────────────────────────────────────────────────────────────────────────

template <class T>
void store_rows(const LinearTile& tile, const float* c) {
  for (std::int64_t r = 0; r < tile.rows; ++r, c += row_floats(tile)) {
    T* y = reinterpret_cast<T*>(tile.y) + r * tile.y_stride;
    std::int64_t j = 0;
    for (; j + kLanes <= tile.cols; j += kLanes) store(y + j, load(c + j));
    if (j < tile.cols) store_partial(y + j, load(c + j), tile.cols - j);
  }
}

template <class T>
void add_bias(const LinearTile& tile, float* c) {
  const T* bias = reinterpret_cast<const T*>(tile.bias);
  for (std::int64_t j = 0; j < tile.cols; j += kLanes) {
    const Vec b = load_partial(bias + j, tile.cols - j);
    for (std::int64_t r = 0; r < tile.rows; ++r) store(c + r * row_floats(tile) + j, load(c + r * row_floats(tile) + j) + b);
  }
}

void finish(const LinearTile& tile, float* c) {
  if (tile.bias) {
    with_dtype(tile.bias_dtype, [&](auto* type) { add_bias<ElementOf<decltype(type)>>(tile, c); });
  }
  with_dtype(tile.y_dtype, [&](auto* type) { store_rows<ElementOf<decltype(type)>>(tile, c); });
}

// ── packed ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// Weights [cols, depth] of one block of the depth as panels of kGemmCols columns, filled up to whole vectors with the
/// last feature.
template <class W>
void pack(const LinearTile& tile, std::int64_t begin, std::int64_t depth, float* panels) {
  const W* weight = reinterpret_cast<const W*>(tile.weight) + begin;
  for (std::int64_t j = 0; j < tile.cols; j += kLanes) {
    float* panel = panels + j / kGemmCols * depth * kGemmCols + j % kGemmCols;
    const std::int64_t cols = min_of(kLanes, tile.cols - j);
    for (std::int64_t k = 0; k < depth; k += kLanes) {
      const std::int64_t lanes = min_of(kLanes, depth - k);
      Vec v[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        const W* from = weight + (j + min_of(i, cols - 1)) * tile.weight_stride + k;
        v[i] = lanes == kLanes ? load(from) : load_partial(from, lanes);
      }
      transpose(v);
      for (int i = 0; i < lanes; ++i) store(panel + (k + i) * kGemmCols, v[i]);
    }
  }
}

void multiply_packed(const LinearTile& tile) {
  float* c = tile.scratch;
  float* panels = c + tile.rows * row_floats(tile);
  for (std::int64_t begin = 0; begin < tile.depth || begin == 0; begin += kPanelDepth) {
    const std::int64_t depth = min_of(kPanelDepth, tile.depth - begin);
    with_dtype(tile.weight_dtype, [&](auto* type) { pack<ElementOf<decltype(type)>>(tile, begin, depth, panels); });
    for (std::int64_t r = 0; r < tile.rows; r += kRowsInL2) {
      const std::int64_t rows = min_of(kRowsInL2, tile.rows - r);
      const float* x = tile.x + r * tile.x_stride + begin;
      float* to = c + r * row_floats(tile);
      const auto multiply = begin == 0 ? gemm_tile<false, PanelRow> : gemm_tile<true, PanelRow>;
      multiply(rows, tile.cols, depth, x, tile.x_stride, panels, PanelRow(), depth * kGemmCols, to, row_floats(tile), NoPause());
    }
  }
  finish(tile, c);
}

// ── direct ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// kRows rows against kLanes / kRows features from column j on. Rows and features beyond the last repeat it; C has room for
/// such features, rows are not written.
template <class W, int kRows>
void dot_products(const LinearTile& tile, std::int64_t row, std::int64_t j, float* c) {
  constexpr int kCols = kLanes / kRows;
  const float* x[kRows];
  const W* weight[kCols];
  for (int r = 0; r < kRows; ++r) x[r] = tile.x + min_of(row + r, tile.rows - 1) * tile.x_stride;
  for (int i = 0; i < kCols; ++i) weight[i] = reinterpret_cast<const W*>(tile.weight) + min_of(j + i, tile.cols - 1) * tile.weight_stride;
  Vec sums[kLanes] = {};
  std::int64_t k = 0;
  for (; k + kLanes <= tile.depth; k += kLanes) {
    Vec factors[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) factors[r] = load(x[r] + k);
#pragma GCC unroll 16
    for (int i = 0; i < kCols; ++i) {
      const Vec w = load(weight[i] + k);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) sums[r * kCols + i] = factors[r] * w + sums[r * kCols + i];
    }
  }
  if (k < tile.depth) {
    const std::int64_t rest = tile.depth - k;
    for (int i = 0; i < kCols; ++i) {
      const Vec w = load_partial(weight[i] + k, rest);
      for (int r = 0; r < kRows; ++r) sums[r * kCols + i] = load_partial(x[r] + k, rest) * w + sums[r * kCols + i];
    }
  }
  float totals[kLanes];
  store(totals, reduce_add_each(sums));
  for (int r = 0; r < kRows && row + r < tile.rows; ++r) {
    for (int i = 0; i < kCols; ++i) c[(row + r) * row_floats(tile) + j + i] = totals[r * kCols + i];
  }
}

/// All rows against the features that one step of the widest group of rows covers, while their weights are in the cache.
template <class W>
void dot_rows(const LinearTile& tile, float* c) {
  for (std::int64_t j = 0; j < tile.cols; j += kLanes) {
    const std::int64_t end = min_of(j + kLanes, tile.cols);
    std::int64_t row = 0;
    for (; row + 2 < tile.rows; row += 4) {  // three rows as four are faster than as two and one
      for (std::int64_t i = j; i < end; i += kLanes / 4) dot_products<W, 4>(tile, row, i, c);
    }
    if (row + 2 == tile.rows) {
      for (std::int64_t i = j; i < end; i += kLanes / 2) dot_products<W, 2>(tile, row, i, c);
    } else if (row < tile.rows) {
      dot_products<W, 1>(tile, row, j, c);
    }
  }
}

void multiply_direct(const LinearTile& tile) {
  with_dtype(tile.weight_dtype, [&](auto* type) { dot_rows<ElementOf<decltype(type)>>(tile, tile.scratch); });
  finish(tile, tile.scratch);
}

void to_float(const std::byte* src, DType dtype, float* dst, std::int64_t count) {
  with_dtype(dtype, [&](auto* type) {
    const auto* from = reinterpret_cast<decltype(type)>(src);
    std::int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) store(dst + i, load(from + i));
    if (i < count) store_partial(dst + i, load_partial(from + i, count - i), count - i);
  });
}

}  // namespace

const LinearTable kLinearTable = {to_float, multiply_packed, multiply_direct};

}  // namespace attn::cpu::ATTN_ISA
