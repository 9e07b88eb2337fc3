#pragma once
// AVX-512 with dot products of bfloat16 pairs: 12 x 32 sums in registers, a pair of A broadcast from memory.

#include "cpu/simd/avx512.h"
//
#include "cpu/simd/avx512_bf16_rows.h"

namespace attn::cpu::ATTN_ISA {

class Bf16Product {
 public:
  template <bool kAccumulate, class Beside = NothingBeside>
  void multiply(std::int64_t rows, std::int64_t cols, std::int64_t depth, const BFloat* a, std::int64_t lda, const BFloat* b, std::int64_t panel_stride,
                float* c, std::int64_t ldc, Beside&& = {}) const {
    const std::int64_t shares = (rows + kRegisterRows - 1) / kRegisterRows;
    for (std::int64_t j = 0; j < cols; j += 2 * kPanelCols, b += 2 * panel_stride) {
      std::int64_t begin = 0;
      for (std::int64_t share = 0; share < shares; ++share) {
        const std::int64_t end = rows * (share + 1) / shares;
        const auto multiply_share = cols - j > kPanelCols ? share_rows<2, kAccumulate> : share_rows<1, kAccumulate>;
        multiply_share(static_cast<int>(end - begin), depth, a + begin * lda, lda, b, panel_stride, c + begin * ldc + j, ldc);
        begin = end;
      }
    }
  }

 private:
  static constexpr int kRegisterRows = 12;

  template <int kPanels, bool kAccumulate, int kRows = kRegisterRows>
  static void share_rows(int rows, std::int64_t depth, const BFloat* a, std::int64_t lda, const BFloat* b, std::int64_t panel_stride, float* c,
                         std::int64_t ldc) {
    if constexpr (kRows > 0) {
      if (rows == kRows) return registers<kRows, kPanels, kAccumulate>(depth, a, lda, b, panel_stride, c, ldc);
      share_rows<kPanels, kAccumulate, kRows - 1>(rows, depth, a, lda, b, panel_stride, c, ldc);
    }
  }

  template <int kRows, int kPanels, bool kAccumulate>
  __attribute__((noinline)) static void registers(std::int64_t depth, const BFloat* a, std::int64_t lda, const BFloat* b, std::int64_t panel_stride, float* c,
                                                  std::int64_t ldc) {
    __m512 sums[kRows][kPanels];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kPanels; ++v) sums[r][v] = kAccumulate ? (__m512)load(c + r * ldc + v * kPanelCols) : (__m512)Vec{};
    }
    do {  // depth > 0
      __m512bh pairs[kPanels];
#pragma GCC unroll 2
      for (int v = 0; v < kPanels; ++v) pairs[v] = (__m512bh)load_elements(b + v * panel_stride);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        std::uint32_t pair;
        __builtin_memcpy(&pair, a + r * lda, sizeof pair);
        const __m512bh factors = (__m512bh)broadcast(pair);
#pragma GCC unroll 2
        for (int v = 0; v < kPanels; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], factors, pairs[v]);
      }
      a += 2;
      b += 2 * kPanelCols;
      depth -= 2;
    } while (depth > 0);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kPanels; ++v) store(c + r * ldc + v * kPanelCols, (Vec)sums[r][v]);
    }
  }
};

}  // namespace attn::cpu::ATTN_ISA
