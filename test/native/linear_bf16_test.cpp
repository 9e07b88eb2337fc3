// linear by products of bfloat16: every instruction set that has them, and a stand-in that runs anywhere.

#include "check.h"
#include "linear_check.h"
#include "ops_support.h"

namespace attn::test {
namespace {

constexpr DTypeMask kBf16 = mask_of(DType::kBFloat16);

struct Shape {
  std::int64_t rows, in, out;
};

/// Rows, features and depths that fill no panel, no task and no block, and more than one pass of each.
constexpr Shape kShapes[] = {{12, 32, 1}, {16, 64, 16}, {17, 96, 5}, {50, 512, 64}, {97, 544, 65}, {130, 1056, 130}, {513, 32, 200}, {1030, 64, 3}};

}  // namespace

TEST(linear_bf16_matches_float64) {
  for_each_kernel<LinearProblem>(
      [](const std::string& kernel) {
        std::uint32_t seed = 1;
        for (const Shape& s : kShapes) {
          const Tensor x = random_tensor(DType::kBFloat16, {s.rows, s.in}, ++seed), weight = random_tensor(DType::kBFloat16, {s.out, s.in}, ++seed);
          for (DType bias_dtype : kComputeDTypeList) {
            const Tensor bias = random_tensor(bias_dtype, {s.out}, ++seed);
            check_linear(case_text(kernel, x, weight), x, weight, bias, linear(x, weight, bias, std::nullopt));
          }
          check_linear(case_text(kernel, x, weight), x, weight, std::nullopt, linear(x, weight, std::nullopt, std::nullopt));
        }
      },
      kBf16);
}

TEST(linear_bf16_takes_strides_and_writes_nowhere_else) {
  for_each_kernel<LinearProblem>(
      [](const std::string& kernel) {
        const Tensor x = slice(slice(random_tensor(DType::kBFloat16, {40, 70}, 1), 1, 3, 67), 0, 2, 39);
        const Tensor weight = slice(slice(random_tensor(DType::kBFloat16, {30, 80}, 2), 1, 5, 69), 0, 1, 28);
        const Tensor whole = make_tensor(DType::kBFloat16, {39, 29}, std::vector<double>(39 * 29, 7));
        const Tensor out = slice(slice(whole, 0, 1, 38), 1, 1, 28);
        check_linear(kernel + " strided", x, weight, std::nullopt, linear(x, weight, std::nullopt, out));
        for (const Tensor& around : {slice(whole, 0, 0, 1), slice(whole, 0, 38, 39), slice(whole, 1, 0, 1), slice(whole, 1, 28, 29)}) {
          for (double value : values_of(around)) CHECK_EQUAL(value, 7.0);
        }
      },
      kBf16);
}

TEST(linear_bf16_does_not_depend_on_threads) {
  for_each_kernel<LinearProblem>(
      [](const std::string&) {
        for (std::int64_t rows : {13, 150, 600}) {
          const Tensor x = random_tensor(DType::kBFloat16, {rows, 544}, 1), weight = random_tensor(DType::kBFloat16, {90, 544}, 2);
          inline_backend().set_num_threads(1);
          const std::vector<std::uint8_t> one = bytes_of(linear(x, weight, std::nullopt, std::nullopt));
          for (int threads : {2, 3, 16}) {
            inline_backend().set_num_threads(threads);
            CHECK(bytes_of(linear(x, weight, std::nullopt, std::nullopt)) == one);
          }
          inline_backend().set_num_threads(2);
        }
      },
      kBf16);
}

TEST(linear_bf16_keeps_infinities_and_nan_to_their_rows) {
  for_each_kernel<LinearProblem>(
      [](const std::string&) {
        std::vector<double> values = random_values(30 * 32, DType::kBFloat16, 1);
        values[0] = INFINITY;
        values[32] = NAN;
        const Tensor y = linear(make_tensor(DType::kBFloat16, {30, 32}, values), make_tensor(DType::kBFloat16, {3, 32}, std::vector<double>(96, 0.5)),
                                std::nullopt, std::nullopt);
        const std::vector<double> result = values_of(y);
        for (std::size_t i = 0; i < result.size(); ++i) CHECK(i < 3 ? result[i] == INFINITY : i < 6 ? std::isnan(result[i]) : std::isfinite(result[i]));
      },
      kBf16);
}

TEST(linear_bf16_per_head_matches_float64) {
  for_each_kernel<LinearProblem>(
      [](const std::string& kernel) {
        const std::int64_t rows = 40, heads = 5, in = 96, out = 66;
        const Tensor x = slice(random_tensor(DType::kBFloat16, {rows, heads, in + 4}, 1), 2, 2, in + 2);
        const Tensor weight = random_tensor(DType::kBFloat16, {heads, out, in}, 2);
        const std::vector<double> xs = values_of(x), ws = values_of(weight), ys = values_of(linear_per_head(x, weight));
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t h = 0; h < heads; ++h) {
            for (std::int64_t o = 0; o < out; ++o) {
              check_row_product(kernel, &xs[(r * heads + h) * in], &ws[(h * out + o) * in], in, 0, DType::kBFloat16, ys[(r * heads + h) * out + o]);
            }
          }
        }
      },
      kBf16);
}

TEST(linear_bf16_says_what_it_does_not_take) {
  for_each_kernel<LinearProblem>(
      [](const std::string& kernel) {
        const auto call = [](DType dtype, std::int64_t rows, std::int64_t in) {
          return error_of([&] { linear(random_tensor(dtype, {rows, in}, 1), random_tensor(DType::kBFloat16, {4, in}, 2), std::nullopt, std::nullopt); });
        };
        for (const std::string& text : {call(DType::kFloat32, 20, 32), call(DType::kBFloat16, 11, 32), call(DType::kBFloat16, 20, 33)}) {
          CHECK(text.find(kernel) != std::string::npos);
        }
        CHECK(call(DType::kBFloat16, 11, 32).find("takes 12 rows and more, received 11") != std::string::npos);
        CHECK(call(DType::kBFloat16, 20, 33).find("takes multiples of 32 input features, received 33") != std::string::npos);
      },
      kBf16);
}

}  // namespace attn::test
