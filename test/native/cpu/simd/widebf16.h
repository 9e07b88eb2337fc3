#pragma once
// A stand-in for AVX-512 with products of bfloat16 that runs anywhere: the same panels and tiles, plain sums.

#include "wide.h"

namespace attn::cpu::ATTN_ISA {

ATTN_INLINE BitVec bfloat_pairs(const Float8* p) {
  BFloat exact[2 * kLanes];
  store(exact, load(p));
  store(exact + kLanes, load(p + kLanes));
  BitVec v;
  __builtin_memcpy(&v, exact, sizeof v);
  return v;
}

}  // namespace attn::cpu::ATTN_ISA

#include "cpu/simd/bf16_product.h"

namespace attn::cpu::ATTN_ISA {

ATTN_INLINE BitVec narrow(Vec a, Vec b) {
  BFloat rounded[2 * kLanes];
  store(rounded, a);
  store(rounded + kLanes, b);
  return load_elements(rounded);
}

class Bf16Product {
 public:
  template <bool kAccumulate, class Beside = NothingBeside>
  void multiply(std::int64_t rows, std::int64_t cols, std::int64_t depth, const BFloat* a, std::int64_t lda, const BFloat* b, std::int64_t panel_stride,
                float* c, std::int64_t ldc, Beside&& = {}) const {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t j = 0; j < cols; j += kPanelCols) {
        Vec sum = kAccumulate ? load(c + r * ldc + j) : Vec{};
        for (std::int64_t k = 0; k < depth; k += 2) {
          const BitVec pairs = load_elements(b + j / kPanelCols * panel_stride + k * kPanelCols);
          sum = widened(a[r * lda + k]) * vec_of(pairs << 16) + sum;
          sum = widened(a[r * lda + k + 1]) * vec_of(pairs & 0xffff0000u) + sum;
        }
        store(c + r * ldc + j, sum);
      }
    }
  }

 private:
  static Vec widened(BFloat x) { return vec_of(broadcast(static_cast<std::uint32_t>(x.bits) << 16)); }
};

}  // namespace attn::cpu::ATTN_ISA
