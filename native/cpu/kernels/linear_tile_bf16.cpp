// yᵀ = W xᵀ (+ bias) for some output features, by products of bfloat16 pairs accumulated in float32. Weights, of which there are many,
// are the operand that needs no packing: a block of them is copied to where its rows do not collide in the caches. Sums are
// transposed on their way to y. Scratch: linear_columns_scratch. Any y dtype; depth a multiple of 32.

#include "cpu/kernels/linear_tile_bf16.h"

#include "cpu/simd/bf16_product.h"

namespace attn::cpu::ATTN_ISA {

extern const LinearBf16Table kLinearBf16Table;

namespace {

static_assert(kLinearPanelRows == kPanelCols && kLinearDepth % kDepthStep == 0, "x is packed as Bf16Product takes it");

void pack(const std::byte* x, std::int64_t x_stride, std::int64_t rows, std::int64_t depth, std::byte* panel) {
  const BFloat* from = reinterpret_cast<const BFloat*>(x);
  BFloat* to = reinterpret_cast<BFloat*>(panel);
  for (std::int64_t k = 0; k < depth; k += kDepthStep, to += kPanelCols * kDepthStep) {
    BitVec v[kPanelCols];
#pragma GCC unroll 16
    for (int i = 0; i < kPanelCols; ++i) v[i] = i < rows ? load_elements(from + i * x_stride + k) : BitVec{};
    transpose_pairs(v);
#pragma GCC unroll 16
    for (int i = 0; i < kPanelCols; ++i) store_elements(to + i * kDepthStep, v[i]);
  }
}

/// Sums of 16 features for 16 rows, transposed, become `cols` features of `rows` rows of y.
template <class T>
ATTN_INLINE void store_square(const LinearColumns& t, const float* sums, std::int64_t stride, std::int64_t j, std::int64_t r) {
  const std::int64_t cols = min_of(kLanes, t.cols - j), rows = min_of(kLanes, t.rows - r);
  Vec v[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) v[i] = load(sums + (j + i) * stride + r);
  transpose(v);
  Vec bias{};
  if (t.bias) {
    with_dtype(t.bias_dtype, [&](auto* typed) { bias = load_partial(reinterpret_cast<decltype(typed)>(t.bias) + j, cols); });
  }
  T* y = reinterpret_cast<T*>(t.y) + r * t.y_stride + j;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i >= rows) break;
    if (cols == kLanes) {
      store(y + i * t.y_stride, v[i] + bias);
    } else {
      store_partial(y + i * t.y_stride, v[i] + bias, cols);
    }
  }
}

void multiply(const LinearColumns& t) {
  const std::int64_t stride = linear_sums_stride(t.rows), panels = round_up(t.rows, kPanelCols);
  float* sums = reinterpret_cast<float*>(t.scratch);
  BFloat* block = reinterpret_cast<BFloat*>(sums + kLinearFeatures * stride);
  const BFloat* weight = reinterpret_cast<const BFloat*>(t.weight);
  const BFloat* x = reinterpret_cast<const BFloat*>(t.x);
  {
    const Bf16Product product;
    for (std::int64_t begin = 0; begin < t.depth; begin += kLinearDepth) {
      const std::int64_t depth = min_of(kLinearDepth, t.depth - begin);
      for (std::int64_t j = 0; j < t.cols; ++j) {
        for (std::int64_t k = 0; k < depth; k += kDepthStep)
          store_elements(block + j * kLinearWeightStride + k, load_elements(weight + j * t.weight_stride + begin + k));
      }
      if (begin == 0) {
        product.multiply<false>(t.cols, panels, depth, block, kLinearWeightStride, x, t.depth * kPanelCols, sums, stride);
      } else {
        product.multiply<true>(t.cols, panels, depth, block, kLinearWeightStride, x + begin * kPanelCols, t.depth * kPanelCols, sums, stride);
      }
    }
  }
  with_dtype(t.y_dtype, [&](auto* typed) {
    for (std::int64_t r = 0; r < t.rows; r += kLanes) {
      for (std::int64_t j = 0; j < t.cols; j += kLanes) store_square<ElementOf<decltype(typed)>>(t, sums, stride, j, r);
    }
  });
}

}  // namespace

const LinearBf16Table kLinearBf16Table = {pack, multiply};

}  // namespace attn::cpu::ATTN_ISA
