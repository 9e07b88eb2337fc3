#pragma once
// The vector interface of each instruction set behind plain functions, so that one test loops over all of them.

#include <cstdint>
#include <vector>

#include "core/dtype.h"

namespace attn::test {

struct SimdFunctions {
  const char* isa;
  int lanes, gemm_cols;
  // Over `count` elements, a multiple of lanes.
  void (*widen)(DType dtype, const void* src, float* dst, std::int64_t count);
  void (*narrow)(DType dtype, const float* src, void* dst, std::int64_t count);
  void (*widen_pairs)(const void* src, float* dst, std::int64_t count);  // of float8_e4m3, a multiple of 2 · lanes
  void (*exp)(const float* src, float* dst, std::int64_t count);
  void (*power_of_two)(const float* src, float* dst, std::int64_t count);
  void (*tanh)(const float* src, float* dst, std::int64_t count);
  // Over one vector, or `lanes` of them.
  float (*reduce_add)(const float* src);
  float (*reduce_max)(const float* src);
  void (*reduce_add_each)(const float* src, float* dst);
  void (*transpose)(const float* src, float* dst);
  void (*copy_partial)(DType dtype, const void* src, std::int64_t src_stride, void* dst, std::int64_t dst_stride, std::int64_t count);
  void (*gemm)(bool accumulate, std::int64_t rows, std::int64_t cols, std::int64_t depth, const float* a, std::int64_t lda, const float* b, std::int64_t ldb,
               std::int64_t panel_stride, float* c, std::int64_t ldc);
  // One row in place: exp(scale · x - max) over its sum. Reads and writes up to the next multiple of lanes, zeros there.
  void (*softmax)(float* row, std::int64_t count, float scale);
};

extern const SimdFunctions kSimdBaseline, kSimdWide;
#if defined(__x86_64__)
extern const SimdFunctions kSimdAvx2, kSimdAvx512;
#elif defined(__aarch64__)
extern const SimdFunctions kSimdNeon;
#endif

/// Those that this machine can run.
std::vector<SimdFunctions> usable_simd();

}  // namespace attn::test
