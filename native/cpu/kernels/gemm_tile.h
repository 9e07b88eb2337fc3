#pragma once
// The shared float32 matrix product of the CPU kernels: C[rows, cols] = (C or 0) + A[rows, depth] · B[depth, cols].
//
// A and C are row-major with leading dimensions lda and ldc. B lies in panels of kGemmCols columns: element (k, j) is
// b[(j / kGemmCols) · panel_stride + k · ldb + j % kGemmCols]; contiguous panels (ldb a PanelRow, panel_stride =
// depth · kGemmCols) never collide in the L1 cache. Columns are computed in whole vectors: C must be writable, and B
// readable, up to the next multiple of kLanes. Each element sums over k in order, starting from C, in whatever tile it
// falls: the result of a row does not depend on the rows computed with it.

#include <type_traits>

#include "cpu/isa.h"

namespace attn::cpu::ATTN_ISA {

inline constexpr int kGemmCols = kGemmVecs * kLanes;
/// A row of a contiguous panel. A number that the compiler knows: the loop below has no register left to hold it.
using PanelRow = std::integral_constant<std::int64_t, kGemmCols>;

// Internal linkage, so that the linker cannot mix instruction sets.
namespace {

template <int kRows, int kVecs, bool kAccumulate, bool kScale, class Ldb>
__attribute__((noinline)) void gemm_registers(std::int64_t depth, const float* a, std::int64_t lda, const float* b, Ldb ldb, float* c, std::int64_t ldc,
                                              [[maybe_unused]] const float* factors) {
  Vec sums[kRows][kVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) sums[r][v] = kAccumulate ? load(c + r * ldc + v * kLanes) : Vec{};
  }
  do {  // depth > 0; a loop that might not run at all would make the compiler keep the sums in memory as well
    Vec row[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) row[v] = load(b + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec factor = broadcast(a[r * lda]);
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) sums[r][v] = factor * row[v] + sums[r][v];
    }
    ++a;
    b += ldb;
  } while (--depth > 0);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) store(c + r * ldc + v * kLanes, kScale ? sums[r][v] * factors[r] : sums[r][v]);
  }
}

template <int kVecs, bool kAccumulate, bool kScale, int kRows = kGemmRows, class Ldb>
void gemm_rows(int rows, std::int64_t depth, const float* a, std::int64_t lda, const float* b, Ldb ldb, float* c, std::int64_t ldc, const float* factors) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return gemm_registers<kRows, kVecs, kAccumulate, kScale>(depth, a, lda, b, ldb, c, ldc, factors);
    gemm_rows<kVecs, kAccumulate, kScale, kRows - 1>(rows, depth, a, lda, b, ldb, c, ldc, factors);
  }
}

/// Nothing to do between two register tiles.
struct NoPause {
  void operator()() const {}
};

/// kScale: row r of the sums is multiplied by factors[r] on its way to C.
template <bool kAccumulate, bool kScale, class Ldb, class Pause>
void gemm_panels(std::int64_t rows, std::int64_t cols, std::int64_t depth, const float* a, std::int64_t lda, const float* b, Ldb ldb, std::int64_t panel_stride,
                 float* c, std::int64_t ldc, const float* factors, const Pause& pause) {
  static_assert(kGemmVecs == 2, "the remainder below is one vector");
  if (depth <= 0) {
    for (std::int64_t r = 0; !kAccumulate && r < rows; ++r) {
      for (std::int64_t j = 0; j < cols; j += kLanes) store(c + r * ldc + j, Vec{});
    }
    return;
  }
  // Even shares: 8 rows are 4 + 4 rather than 6 + 2, which would starve the multipliers.
  const std::int64_t shares = (rows + kGemmRows - 1) / kGemmRows;
  for (std::int64_t j = 0; j < cols; j += kGemmCols, b += panel_stride) {
    std::int64_t begin = 0;
    for (std::int64_t share = 0; share < shares; ++share) {
      const std::int64_t end = rows * (share + 1) / shares;
      const int count = static_cast<int>(end - begin);
      if (cols - j > kLanes) {
        gemm_rows<2, kAccumulate, kScale>(count, depth, a + begin * lda, lda, b, ldb, c + begin * ldc + j, ldc, kScale ? factors + begin : nullptr);
      } else {
        gemm_rows<1, kAccumulate, kScale>(count, depth, a + begin * lda, lda, b, ldb, c + begin * ldc + j, ldc, kScale ? factors + begin : nullptr);
      }
      begin = end;
      pause();
    }
  }
}

template <bool kAccumulate, class Ldb, class Pause = NoPause>
void gemm_tile(std::int64_t rows, std::int64_t cols, std::int64_t depth, const float* a, std::int64_t lda, const float* b, Ldb ldb, std::int64_t panel_stride,
               float* c, std::int64_t ldc, const Pause& pause = {}) {
  gemm_panels<kAccumulate, false>(rows, cols, depth, a, lda, b, ldb, panel_stride, c, ldc, nullptr, pause);
}

/// C[r] = factors[r] · (A · B)[r]
template <class Ldb>
void gemm_scaled(std::int64_t rows, std::int64_t cols, std::int64_t depth, const float* a, std::int64_t lda, const float* b, Ldb ldb, std::int64_t panel_stride,
                 float* c, std::int64_t ldc, const float* factors) {
  gemm_panels<false, true>(rows, cols, depth, a, lda, b, ldb, panel_stride, c, ldc, factors, NoPause());
}

}  // namespace

}  // namespace attn::cpu::ATTN_ISA
