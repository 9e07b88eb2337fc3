// The body of simd_<isa>.cpp: the functions of simd_functions.h for ATTN_ISA. No containers here (cpu/isa.h says why).

#include "cpu/kernels/gemm_tile.h"
#include "simd_functions.h"

namespace attn::cpu::ATTN_ISA {
namespace {

void widen(DType dtype, const void* src, float* dst, std::int64_t count) {
  with_operand_dtype(dtype, [&](auto* typed) {
    const auto* from = static_cast<decltype(typed)>(src);
    for (std::int64_t i = 0; i < count; i += kLanes) store(dst + i, load(from + i));
  });
}

void narrow(DType dtype, const float* src, void* dst, std::int64_t count) {
  with_operand_dtype(dtype, [&](auto* typed) {
    auto* to = static_cast<ElementOf<decltype(typed)>*>(dst);
    for (std::int64_t i = 0; i < count; i += kLanes) store(to + i, load(src + i));
  });
}

void exp_all(const float* src, float* dst, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += kLanes) store(dst + i, exp(load(src + i)));
}

void power_of_two_all(const float* src, float* dst, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += kLanes) store(dst + i, power_of_two(load(src + i)));
}

void tanh_all(const float* src, float* dst, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += kLanes) store(dst + i, tanh(load(src + i)));
}

void load_rows(const float* src, Vec (&rows)[kLanes]) {
  for (int i = 0; i < kLanes; ++i) rows[i] = load(src + i * kLanes);
}

float add_lanes(const float* src) { return reduce_add(load(src)); }
float max_lanes(const float* src) { return reduce_max(load(src)); }

void add_each(const float* src, float* dst) {
  Vec rows[kLanes];
  load_rows(src, rows);
  store(dst, reduce_add_each(rows));
}

void transpose_rows(const float* src, float* dst) {
  Vec rows[kLanes];
  load_rows(src, rows);
  transpose(rows);
  for (int i = 0; i < kLanes; ++i) store(dst + i * kLanes, rows[i]);
}

void widen_pairs(const void* src, float* dst, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += 2 * kLanes) {
    Vec pair[2];
    load_pair(static_cast<const Float8*>(src) + i, pair);
    store(dst + i, pair[0]);
    store(dst + i + kLanes, pair[1]);
    if (kDealt<Float8>) undeal_row(dst + i, 2 * kLanes);
  }
}

void copy_partial(DType dtype, const void* src, std::int64_t src_stride, void* dst, std::int64_t dst_stride, std::int64_t count) {
  with_dtype(dtype, [&](auto* typed) {
    const auto* from = static_cast<decltype(typed)>(src);
    auto* to = static_cast<ElementOf<decltype(typed)>*>(dst);
    store_partial(to, load_partial(from, count, src_stride), count, dst_stride);
  });
}

void gemm(bool accumulate, std::int64_t rows, std::int64_t cols, std::int64_t depth, const float* a, std::int64_t lda, const float* b, std::int64_t ldb,
          std::int64_t panel_stride, float* c, std::int64_t ldc) {
  if (accumulate) {
    gemm_tile<true>(rows, cols, depth, a, lda, b, ldb, panel_stride, c, ldc);
  } else {
    gemm_tile<false>(rows, cols, depth, a, lda, b, ldb, panel_stride, c, ldc);
  }
}

void softmax(float* row, std::int64_t count, float scale) {
  for (std::int64_t j = count; j % kLanes != 0; ++j) row[j] = -__builtin_inff();
  Vec peak = broadcast(-__builtin_inff());
  for (std::int64_t j = 0; j < count; j += kLanes) peak = max_of(load(row + j), peak);
  const float factor = scale * 1.44269504f, max = reduce_max(peak) * factor;
  Vec total{};
  for (std::int64_t j = 0; j < count; j += kLanes) {
    const Vec x = power_of_two(load(row + j) * factor - max);
    total += x;
    store(row + j, x);
  }
  const float share = 1 / reduce_add(total);
  for (std::int64_t j = 0; j < count; j += kLanes) store(row + j, load(row + j) * share);
}

constexpr test::SimdFunctions kFunctions{ATTN_ISA_NAME, kLanes,    kGemmCols, widen,    narrow,         widen_pairs,  exp_all, power_of_two_all,
                                         tanh_all,      add_lanes, max_lanes, add_each, transpose_rows, copy_partial, gemm,    softmax};

}  // namespace
}  // namespace attn::cpu::ATTN_ISA
