// The vector interface of every instruction set against scalar code, over every 16-bit value and random floats.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "check.h"
#include "core/convert.h"
#include "cpu/isa.h"
#include "simd_functions.h"

namespace attn::test {

std::vector<SimdFunctions> usable_simd() {
  std::vector<SimdFunctions> all{kSimdBaseline, kSimdWide};
#if defined(__x86_64__)
  for (const SimdFunctions& functions : {kSimdAvx2, kSimdAvx512}) {
    if (!cpu::isa_missing(functions.isa)) all.push_back(functions);
  }
#elif defined(__aarch64__)
  all.push_back(kSimdNeon);
#endif
  return all;
}

namespace {

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

/// Floats of all magnitudes: random bit patterns, and every edge of rounding to 16 bits.
std::vector<float> many_floats() {
  std::vector<float> values;
  for (std::uint32_t high = 0; high < 0x10000; ++high) {
    for (const std::uint32_t low : {0u, 1u, 0x0fffu, 0x1000u, 0x1001u, 0x2fffu, 0x3000u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      values.push_back(std::bit_cast<float>(high << 16 | low));
    }
  }
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random())));
  values.resize(values.size() / 64 * 64);
  return values;
}

/// Distance in units of the last place of the float nearest to `expected`.
double ulps(float actual, double expected) {
  const float nearest = static_cast<float>(expected);
  if (std::isnan(expected) || std::isinf(nearest)) return std::isnan(expected) ? (std::isnan(actual) ? 0 : 1e9) : (actual == nearest ? 0 : 1e9);
  const double unit = std::max<double>(std::nextafter(std::fabs(nearest), INFINITY) - std::fabs(nearest), std::numeric_limits<float>::denorm_min());
  return std::isnan(actual) ? 1e9 : std::fabs(actual - expected) / unit;
}

}  // namespace

TEST(simd_widens_every_half) {
  std::vector<std::uint16_t> all(65536);
  for (int i = 0; i < 65536; ++i) all[i] = static_cast<std::uint16_t>(i);
  std::vector<float> wide(65536);
  for (const SimdFunctions& f : usable_simd()) {
    f.widen(DType::kFloat16, all.data(), wide.data(), 65536);
    for (int i = 0; i < 65536; ++i) CHECK_EQUAL(bits(wide[i]), bits(f16_to_float(all[i])));
    f.widen(DType::kBFloat16, all.data(), wide.data(), 65536);
    for (int i = 0; i < 65536; ++i) CHECK_EQUAL(bits(wide[i]), bits(bf16_to_float(all[i])));
  }
}

TEST(simd_narrows_as_convert_does) {
  const std::vector<float> values = many_floats();
  const std::int64_t count = static_cast<std::int64_t>(values.size());
  std::vector<std::uint16_t> narrow(values.size());
  for (const SimdFunctions& f : usable_simd()) {
    f.narrow(DType::kFloat16, values.data(), narrow.data(), count);
    for (std::int64_t i = 0; i < count; ++i) CHECK_EQUAL(narrow[i], float_to_f16(values[i]));
    f.narrow(DType::kBFloat16, values.data(), narrow.data(), count);
    for (std::int64_t i = 0; i < count; ++i) CHECK_EQUAL(narrow[i], float_to_bf16(values[i]));
  }
}

TEST(simd_widens_every_float8) {
  std::vector<std::uint8_t> all(256);
  for (int i = 0; i < 256; ++i) all[i] = static_cast<std::uint8_t>(i);
  std::vector<float> wide(256), pairs(256);
  for (const SimdFunctions& f : usable_simd()) {
    f.widen(DType::kFloat8E4M3, all.data(), wide.data(), 256);
    f.widen_pairs(all.data(), pairs.data(), 256);
    for (int i = 0; i < 256; ++i) {
      // NaN may differ in its payload.
      if (i % 128 == 127) CHECK(std::isnan(wide[i]) && std::signbit(wide[i]) == (i > 127));
      if (i % 128 != 127) CHECK_EQUAL(bits(wide[i]), bits(e4m3_to_float(all[i])));
      CHECK_EQUAL(bits(pairs[i]), bits(wide[i]));
    }
  }
}

TEST(simd_saturates_to_float8) {
  const std::vector<float> values = many_floats();
  const std::int64_t count = static_cast<std::int64_t>(values.size());
  std::vector<std::uint8_t> narrow(values.size());
  for (const SimdFunctions& f : usable_simd()) {
    f.narrow(DType::kFloat8E4M3, values.data(), narrow.data(), count);
    for (std::int64_t i = 0; i < count; ++i)
      CHECK_EQUAL(int{narrow[i]}, int{float_to_e4m3(std::isnan(values[i]) ? values[i] : std::clamp(values[i], -448.0f, 448.0f))});
  }
}

TEST(simd_exp_within_two_ulps) {
  std::vector<float> x{0, -0.0f, INFINITY, -INFINITY, NAN, 88.7f, 88.72283f, 88.73f, 1e30f, -1e30f, -87.3f, 1e-30f, -1e-8f, 1, -1, 0.34657f};
  for (float v = -87.33f; v < 88.72f; v += 0.000731f) x.push_back(v);
  x.resize(x.size() / 64 * 64);
  std::vector<float> y(x.size());
  for (const SimdFunctions& f : usable_simd()) {
    f.exp(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i)
      CHECK_NEAR_IN("ulps of exp(" + std::to_string(x[i]) + ")", ulps(y[i], std::exp(static_cast<double>(x[i]))), 0, 2);
    // Results below the smallest normal number are 0.
    const std::vector<float> low(64, -87.34f), lowest(64, -104.0f);
    f.exp(low.data(), y.data(), 64);
    CHECK_EQUAL(y[0], 0.0f);
    f.exp(lowest.data(), y.data(), 64);
    CHECK_EQUAL(y[63], 0.0f);
  }
}

TEST(simd_power_of_two_within_two_ulps) {
  std::vector<float> x{0, -0.0f, -INFINITY, NAN, -1e30f, -126.0f, 126.99f, 1e-30f, -1e-8f, -1e-30f, 1, -1, 0.5f, -0.5f, -200, -127};
  for (float v = -125.99f; v < 126.99f; v += 0.000731f) x.push_back(v);
  x.resize(x.size() / 64 * 64);
  std::vector<float> y(x.size());
  for (const SimdFunctions& f : usable_simd()) {
    f.power_of_two(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = x[i] < -126.0f ? 0.0 : std::exp2(static_cast<double>(x[i]));  // below the smallest normal number: 0
      CHECK_NEAR_IN("ulps of 2^" + std::to_string(x[i]), ulps(y[i], expected), 0, 2);
    }
    CHECK_EQUAL(y[0], 1.0f);
  }
}

TEST(simd_tanh_within_three_ulps) {
  std::vector<float> x{0, -0.0f, INFINITY, -INFINITY, NAN, 1e-30f, -1e-20f, 0.625f, -0.625f, 0.6249999f, 9, -9, 100, -1e30f, 1, -1};
  for (float v = -10; v < 10; v += 0.0000931f) x.push_back(v);
  x.resize(x.size() / 64 * 64);
  std::vector<float> y(x.size());
  for (const SimdFunctions& f : usable_simd()) {
    f.tanh(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i)
      CHECK_NEAR_IN("ulps of tanh(" + std::to_string(x[i]) + ")", ulps(y[i], std::tanh(static_cast<double>(x[i]))), 0, 3);
  }
}

TEST(simd_lanes) {
  float src[256], dst[256];
  for (int i = 0; i < 256; ++i) src[i] = static_cast<float>((i * 37) % 101 - 50);
  for (const SimdFunctions& f : usable_simd()) {
    const int n = f.lanes;
    float sum = 0, top = src[0];
    for (int i = 0; i < n; ++i) sum += src[i], top = std::max(top, src[i]);
    CHECK_EQUAL(f.reduce_add(src), sum);
    CHECK_EQUAL(f.reduce_max(src), top);
    f.transpose(src, dst);
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) CHECK_EQUAL(dst[j * n + i], src[i * n + j]);
    }
    f.reduce_add_each(src, dst);
    for (int i = 0; i < n; ++i) {
      float expected = 0;
      for (int j = 0; j < n; ++j) expected += src[i * n + j];
      CHECK_EQUAL(dst[i], expected);
    }
  }
}

TEST(simd_partial_vectors_touch_nothing_else) {
  for (const SimdFunctions& f : usable_simd()) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
      const std::int64_t size = dtype_size(dtype);
      for (int count = 1; count <= f.lanes; ++count) {
        std::vector<unsigned char> src(static_cast<std::size_t>(f.lanes * 3 * size)), dst(static_cast<std::size_t>(f.lanes * 2 * size), 0xab), expected = dst;
        for (std::size_t i = 0; i < src.size(); ++i) src[i] = static_cast<unsigned char>(i * 7 % 100 + 1);  // no NaN patterns
        for (int i = 0; i < count; ++i) std::memcpy(expected.data() + i * 2 * size, src.data() + i * 3 * size, size);
        f.copy_partial(dtype, src.data(), 3, dst.data(), 2, count);
        CHECK(dst == expected);
      }
    }
  }
}

TEST(gemm_tile_against_loops) {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (const SimdFunctions& f : usable_simd()) {
    for (const int rows : {1, 2, 3, 5, 6, 7, 8, 11, 12, 13, 25}) {
      for (const int cols : {1, 4, 7, 8, 9, 16, 17, 31, 32, 33, 64, 72}) {
        for (const int depth : {0, 1, 3, 64}) {
          const int panels = (cols + f.gemm_cols - 1) / f.gemm_cols, padded = (cols + f.lanes - 1) / f.lanes * f.lanes;
          const int lda = depth + 3, ldb = f.gemm_cols + 1, panel_stride = ldb * depth + 5, ldc = padded + 2;
          std::vector<float> a(rows * lda), b(panels * panel_stride + 1), c(rows * ldc);
          for (auto* m : {&a, &b, &c}) std::generate(m->begin(), m->end(), [&] { return uniform(random); });
          for (const bool accumulate : {false, true}) {
            std::vector<float> result = c;
            f.gemm(accumulate, rows, cols, depth, a.data(), lda, b.data(), ldb, panel_stride, result.data(), ldc);
            for (int i = 0; i < rows; ++i) {
              for (int j = 0; j < cols; ++j) {
                double expected = accumulate ? c[i * ldc + j] : 0;
                for (int k = 0; k < depth; ++k) expected += static_cast<double>(a[i * lda + k]) * b[j / f.gemm_cols * panel_stride + k * ldb + j % f.gemm_cols];
                CHECK_NEAR(result[i * ldc + j], expected, 1e-5);
              }
              for (int j = padded; j < ldc; ++j) CHECK_EQUAL(result[i * ldc + j], c[i * ldc + j]);
            }
          }
        }
      }
    }
  }
}

}  // namespace attn::test
