#pragma once
// AVX-512 with AMX: eight tiles of 16 rows of 64 bytes. tdpbf16ps adds to 16 x 16 sums the products of 16 x 16 pairs in 16 cycles;
// two by two sums keep it busy beside the loads of their operands. Source of the layouts and of the order of sums: Intel's
// instruction set reference, chapter on AMX.

#include "cpu/simd/avx512.h"
//
#include "cpu/simd/avx512_bf16_rows.h"

namespace attn::cpu::ATTN_ISA {

class Bf16Product {
 public:
  Bf16Product() { configure(kPanelCols, kPanelCols); }
  ~Bf16Product() { _tile_release(); }
  Bf16Product(const Bf16Product&) = delete;
  Bf16Product& operator=(const Bf16Product&) = delete;

  template <bool kAccumulate, class Beside = NothingBeside>
  __attribute__((noinline)) void multiply(std::int64_t rows, std::int64_t cols, std::int64_t depth, const BFloat* a, std::int64_t lda, const BFloat* b,
                                          std::int64_t panel_stride, float* c, std::int64_t ldc, Beside&& beside = {}) const {
    // The compiler does not know that tile loads read memory.
    asm volatile("" ::: "memory");
    if (rows >= 2 * kPanelCols) configure(kPanelCols, kPanelCols);
    const std::int64_t whole = cols == kPanelCols ? rows / (4 * kPanelCols) * (4 * kPanelCols) : rows / (2 * kPanelCols) * (2 * kPanelCols);
    const Strides s{depth, lda * 2, panel_stride, ldc * 4};
    if (cols == kPanelCols) {
      for (std::int64_t r = 0; r < whole; r += 4 * kPanelCols) tall<kAccumulate>(s, a + r * lda, b, c + r * ldc, beside);
    } else {
      // A pair of panels stays in the L1 cache for all rows.
      std::int64_t j = 0;
      for (; j + 2 * kPanelCols <= cols; j += 2 * kPanelCols) {
        for (std::int64_t r = 0; r < whole; r += 2 * kPanelCols) block<2, 2, kAccumulate>(s, a + r * lda, b + j / kPanelCols * panel_stride, c + r * ldc + j);
      }
      for (std::int64_t r = 0; j < cols && r < whole; r += 2 * kPanelCols)
        block<2, 1, kAccumulate>(s, a + r * lda, b + j / kPanelCols * panel_stride, c + r * ldc + j);
    }
    for (std::int64_t r = whole; r < rows; r += 2 * kPanelCols) {
      // Fewer rows than tiles have: fewer are loaded, multiplied and stored.
      const std::int64_t rest = min_of(rows - r, 2 * kPanelCols);
      const bool odd = rest % kPanelCols != 0;
      if (rest > kPanelCols) {
        configure(kPanelCols, odd ? static_cast<int>(rest - kPanelCols) : kPanelCols);
        band<2, kAccumulate>(s, cols, a + r * lda, b, c + r * ldc, beside);
      } else {
        configure(static_cast<int>(rest), static_cast<int>(rest));
        band<1, kAccumulate>(s, cols, a + r * lda, b, c + r * ldc, beside);
      }
    }
    asm volatile("" ::: "memory");
  }

 private:
  struct Strides {
    std::int64_t depth, a_bytes, panel, c_bytes;
  };

  /// Tiles 0 to 3: sums, the upper rows' first. 4, 5: rows of A. 6, 7: panels of B.
  void configure(int upper_rows, int lower_rows) const {
    if (upper_rows == upper_rows_ && lower_rows == lower_rows_) return;
    upper_rows_ = upper_rows;
    lower_rows_ = lower_rows;
    struct {
      std::uint8_t palette = 1, start = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {};
      std::uint8_t rows[16] = {};
    } config;
    const int rows[8] = {upper_rows, upper_rows, lower_rows, lower_rows, upper_rows, lower_rows, kPanelCols, kPanelCols};
    for (int i = 0; i < 8; ++i) {
      config.row_bytes[i] = 64;
      config.rows[i] = static_cast<std::uint8_t>(rows[i]);
    }
    asm volatile("ldtilecfg %0" ::"m"(config));
  }

  /// 32 columns at a time, then the last 16.
  template <int kTileRows, bool kAccumulate, class Beside>
  ATTN_INLINE static void band(const Strides& s, std::int64_t cols, const BFloat* a, const BFloat* b, float* c, Beside&& beside) {
    std::int64_t j = 0;
    if constexpr (kTileRows == 1) {
      for (; j + 4 * kPanelCols <= cols; j += 4 * kPanelCols) wide<kAccumulate>(s, a, b + j / kPanelCols * s.panel, c + j);
    }
    for (; j + 2 * kPanelCols <= cols; j += 2 * kPanelCols) block<kTileRows, 2, kAccumulate>(s, a, b + j / kPanelCols * s.panel, c + j);
    if (j < cols) block<kTileRows, 1, kAccumulate>(s, a, b + j / kPanelCols * s.panel, c + j, beside);
  }

  /// kTileRows x kTileCols tiles.
  template <int kTileRows, int kTileCols, bool kAccumulate, class Beside = NothingBeside>
  ATTN_INLINE static void block(const Strides& s, const BFloat* a, const BFloat* b, float* c, Beside&& beside = {}) {
    float* lower = c + kPanelCols * (s.c_bytes / 4);
    const BFloat* lower_a = a + kPanelCols * (s.a_bytes / 2);
    if constexpr (kAccumulate) {
      _tile_loadd(0, c, s.c_bytes);
      if constexpr (kTileCols == 2) _tile_loadd(1, c + kPanelCols, s.c_bytes);
      if constexpr (kTileRows == 2) _tile_loadd(2, lower, s.c_bytes);
      if constexpr (kTileRows == 2 && kTileCols == 2) _tile_loadd(3, lower + kPanelCols, s.c_bytes);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
    for (std::int64_t k = 0; k < s.depth; k += kDepthStep) {
      _tile_loadd(4, a + k, s.a_bytes);
      _tile_stream_loadd(6, b + k * kPanelCols, 64);
      _tile_dpbf16ps(0, 4, 6);
      beside();
      if constexpr (kTileCols == 2) {
        _tile_stream_loadd(7, b + s.panel + k * kPanelCols, 64);
        _tile_dpbf16ps(1, 4, 7);
      }
      if constexpr (kTileRows == 2) {
        _tile_loadd(5, lower_a + k, s.a_bytes);
        _tile_dpbf16ps(2, 5, 6);
        if constexpr (kTileCols == 2) _tile_dpbf16ps(3, 5, 7);
      }
    }
    _tile_stored(0, c, s.c_bytes);
    if constexpr (kTileCols == 2) _tile_stored(1, c + kPanelCols, s.c_bytes);
    if constexpr (kTileRows == 2) _tile_stored(2, lower, s.c_bytes);
    if constexpr (kTileRows == 2 && kTileCols == 2) _tile_stored(3, lower + kPanelCols, s.c_bytes);
  }

  /// Few rows: 1 x 4 tiles, so that no sum waits for its own last product.
  template <bool kAccumulate>
  ATTN_INLINE static void wide(const Strides& s, const BFloat* a, const BFloat* b, float* c) {
    start<kAccumulate>(c, kPanelCols, s.c_bytes);
    for (std::int64_t k = 0; k < s.depth; k += kDepthStep) {
      const BFloat* panel = b + k * kPanelCols;
      _tile_loadd(4, a + k, s.a_bytes);
      _tile_loadd(6, panel, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, panel + s.panel, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(6, panel + 2 * s.panel, 64);
      _tile_dpbf16ps(2, 4, 6);
      _tile_loadd(7, panel + 3 * s.panel, 64);
      _tile_dpbf16ps(3, 4, 7);
    }
    finish(c, kPanelCols, s.c_bytes);
  }

  /// One panel: 4 x 1 tiles.
  template <bool kAccumulate, class Beside>
  ATTN_INLINE static void tall(const Strides& s, const BFloat* a, const BFloat* b, float* c, Beside&& beside) {
    const std::int64_t tile_a = kPanelCols * (s.a_bytes / 2), tile_c = kPanelCols * (s.c_bytes / 4);
    start<kAccumulate>(c, tile_c, s.c_bytes);
    for (std::int64_t k = 0; k < s.depth; k += kDepthStep) {
      _tile_loadd(6, b + k * kPanelCols, 64);
      _tile_loadd(4, a + k, s.a_bytes);
      _tile_dpbf16ps(0, 4, 6);
      beside();
      _tile_loadd(5, a + tile_a + k, s.a_bytes);
      _tile_dpbf16ps(1, 5, 6);
      beside();
      _tile_loadd(4, a + 2 * tile_a + k, s.a_bytes);
      _tile_dpbf16ps(2, 4, 6);
      beside();
      _tile_loadd(5, a + 3 * tile_a + k, s.a_bytes);
      _tile_dpbf16ps(3, 5, 6);
      beside();
    }
    finish(c, tile_c, s.c_bytes);
  }

  /// Four tiles of sums, `next` elements apart.
  template <bool kAccumulate>
  ATTN_INLINE static void start(const float* c, std::int64_t next, std::int64_t bytes) {
    if constexpr (kAccumulate) {
      _tile_loadd(0, c, bytes);
      _tile_loadd(1, c + next, bytes);
      _tile_loadd(2, c + 2 * next, bytes);
      _tile_loadd(3, c + 3 * next, bytes);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
  }
  ATTN_INLINE static void finish(float* c, std::int64_t next, std::int64_t bytes) {
    _tile_stored(0, c, bytes);
    _tile_stored(1, c + next, bytes);
    _tile_stored(2, c + 2 * next, bytes);
    _tile_stored(3, c + 3 * next, bytes);
  }

  mutable int upper_rows_ = 0, lower_rows_ = 0;  // as configured
};

}  // namespace attn::cpu::ATTN_ISA
