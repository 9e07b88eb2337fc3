// randn: the generator against the published vectors, the functions against the C library, the numbers against their distribution.

#include <cmath>
#include <numbers>
#include <sstream>

#include "check.h"
#include "core/randn.h"
#include "core/random.h"
#include "ops_support.h"

namespace attn::test {
namespace {

std::string philox_text(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  std::ostringstream text;
  for (std::uint32_t word : philox4x32_10(counter, key)) text << std::hex << word << " ";
  return text.str();
}

std::vector<double> normals(std::int64_t count, std::uint64_t seed, DType dtype = DType::kFloat32) {
  const Tensor tensor = empty_tensor(inline_backend(), dtype, {count});
  randn(tensor, seed);
  return values_of(tensor);
}

}  // namespace

TEST(randn_philox_gives_the_published_vectors) {
  // "kat_vectors" of the authors' Random123.
  CHECK_EQUAL(philox_text({0, 0, 0, 0}, {0, 0}), "6627e8d5 e169c58d bc57ac4c 9b00dbd8 ");
  CHECK_EQUAL(philox_text({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), "408f276d 41c83b0e a20bc7c6 6d5451fd ");
  CHECK_EQUAL(philox_text({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}), "d16cfe09 94fdcceb 5001e420 24126ea1 ");
}

TEST(randn_functions_are_accurate) {
  for (std::uint64_t i = 0; i < 100000; ++i) {
    const auto word = static_cast<std::uint32_t>(i * 42949 + (i % 7));
    const double uniform = (word + 0.5) / 4294967296.0, angle = word * (2 * std::numbers::pi / 4294967296.0);
    CHECK_NEAR(portable_log(uniform), std::log(uniform), 4e-16 * std::fabs(std::log(uniform)) + 2e-16);
    CHECK_NEAR(portable_sincos(word).sin, std::sin(angle), 1e-15);
    CHECK_NEAR(portable_sincos(word).cos, std::cos(angle), 1e-15);
  }
}

TEST(randn_numbers_are_standard_normal) {
  register_test_kernels();
  const std::int64_t count = 1 << 20;
  const std::vector<double> numbers = normals(count, 7);
  double sum = 0, squares = 0, cubes = 0, fourths = 0, neighbours = 0;
  int beyond_two = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const double x = numbers[i];
    CHECK(std::fabs(x) < 7);
    sum += x;
    squares += x * x;
    cubes += x * x * x;
    fourths += x * x * x * x;
    neighbours += i > 0 ? x * numbers[i - 1] : 0;
    beyond_two += std::fabs(x) > 2;
  }
  // Five standard deviations of each statistic.
  const double n = static_cast<double>(count), root = 5 / std::sqrt(n);
  CHECK_NEAR(sum / n, 0, root);
  CHECK_NEAR(squares / n, 1, root * std::sqrt(2));
  CHECK_NEAR(cubes / n, 0, root * std::sqrt(15));
  CHECK_NEAR(fourths / n, 3, root * std::sqrt(96));
  CHECK_NEAR(neighbours / n, 0, root);
  CHECK_NEAR(beyond_two / n, 0.0455, root * std::sqrt(0.0455));
}

TEST(randn_elements_depend_on_seed_and_index_only) {
  register_test_kernels();
  const std::vector<double> numbers = normals(50001, 123);
  for (std::int64_t count : {1, 2, 3, 5, 40000}) CHECK(normals(count, 123) == std::vector<double>(numbers.begin(), numbers.begin() + count));
  for (int threads : {1, 3}) {
    inline_backend().set_num_threads(threads);
    CHECK(normals(50001, 123) == numbers);
  }
  inline_backend().set_num_threads(2);
  CHECK(normals(16, 124) != normals(16, 123));
  CHECK(normals(16, (std::uint64_t{1} << 53) - 1) != normals(16, (std::uint64_t{1} << 32) - 1));
  const Tensor strided = transpose(empty_tensor(inline_backend(), DType::kFloat32, {7, 9}), 0, 1);
  randn(strided, 123);
  CHECK(values_of(strided) == std::vector<double>(numbers.begin(), numbers.begin() + 63));
  CHECK(normals(0, 1).empty());
}

TEST(randn_rounds_to_the_dtype) {
  register_test_kernels();
  const std::vector<double> numbers = normals(1000, 5);
  for (DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    const std::vector<double> rounded = normals(1000, 5, dtype);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      CHECK_NEAR(rounded[i], numbers[i], 1.01 * rounding_unit(dtype) * std::fabs(numbers[i]) + smallest_unit(dtype));
    }
  }
  const std::vector<double> bytes = normals(1000, 5, DType::kFloat8E4M3);
  for (std::size_t i = 0; i < numbers.size(); ++i) CHECK_NEAR(bytes[i], numbers[i], 0x1.01p-4 * std::fabs(numbers[i]) + 0x1p-10);
  CHECK_EQUAL(error_of([] { randn(empty_tensor(inline_backend(), DType::kInt32, {4}), 1); }), "dtype: expected a float dtype, received int32");
}

}  // namespace attn::test
