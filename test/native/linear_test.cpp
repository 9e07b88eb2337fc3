// linear and linear_per_head on every kernel against float64 loops.

#include <cmath>

#include "check.h"
#include "core/linear.h"
#include "linear_check.h"
#include "ops_support.h"

namespace attn::test {
namespace {

struct Shape {
  std::int64_t rows, in, out;
};

/// Few rows (direct), many (packed), more than one pass, sizes that fill no vector, panel or block of the depth.
constexpr Shape kShapes[] = {{1, 1, 1},  {1, 7, 5},     {2, 64, 64},    {3, 100, 65},  {4, 33, 17},  {5, 257, 130}, {7, 512, 40},
                             {11, 9, 3}, {12, 300, 70}, {13, 513, 129}, {50, 256, 96}, {97, 31, 33}, {400, 40, 200}};

}  // namespace

TEST(linear_matches_float64) {
  for_each_kernel<LinearProblem>([](const std::string& kernel) {
    std::uint32_t seed = 1;
    for (const Shape& s : kShapes) {
      for (DType x_dtype : kComputeDTypeList) {
        for (DType weight_dtype : kComputeDTypeList) {
          const Tensor x = random_tensor(x_dtype, {s.rows, s.in}, ++seed), weight = random_tensor(weight_dtype, {s.out, s.in}, ++seed);
          std::optional<Tensor> bias;
          if (seed % 4 != 1) bias = random_tensor(kComputeDTypeList[seed % 3], {s.out}, seed);
          check_linear(case_text(kernel, x, weight), x, weight, bias, linear(x, weight, bias, std::nullopt));
        }
      }
    }
  });
}

TEST(linear_takes_any_leading_axes_and_strides) {
  for_each_kernel<LinearProblem>([](const std::string& kernel) {
    const Tensor weight = random_tensor(DType::kBFloat16, {6, 5}, 1);
    const Tensor vector = random_tensor(DType::kFloat32, {5}, 2);
    check_linear(kernel + " one row", vector, weight, std::nullopt, linear(vector, weight, std::nullopt, std::nullopt));
    const Tensor whole = random_tensor(DType::kFloat16, {3, 7, 10}, 3);
    for (const Tensor& x : {slice(whole, 2, 4, 9), slice(slice(whole, 1, 1, 6), 2, 0, 5), slice(transpose(whole, 0, 1), 2, 2, 7),
                            transpose(random_tensor(DType::kFloat16, {3, 5, 7}, 4), 1, 2)}) {
      check_linear(kernel + " strided x", x, weight, std::nullopt, linear(x, weight, std::nullopt, std::nullopt));
    }
    const Tensor columns = transpose(random_tensor(DType::kFloat32, {5, 6}, 5), 0, 1);
    const Tensor bias = slice(transpose(random_tensor(DType::kFloat32, {6, 2}, 6), 0, 1), 0, 1, 2);
    Tensor bias_column = bias;
    bias_column.view.rank = 1;
    bias_column.view.shape[0] = bias.view.shape[1];
    bias_column.view.strides[0] = bias.view.strides[1];
    check_linear(kernel + " strided weight and bias", vector, columns, bias_column, linear(vector, columns, bias_column, std::nullopt));
  });
}

TEST(linear_writes_into_out_and_nowhere_else) {
  for_each_kernel<LinearProblem>([](const std::string& kernel) {
    const Tensor x = random_tensor(DType::kFloat32, {4, 5, 9}, 1), weight = random_tensor(DType::kFloat32, {6, 9}, 2);
    const Tensor whole = make_tensor(DType::kFloat32, {4, 5, 11}, std::vector<double>(220, 7));
    const Tensor out = slice(whole, 2, 3, 9);
    const Tensor returned = linear(x, weight, std::nullopt, out);
    CHECK(is_same_view(returned.view, out.view));
    check_linear(kernel + " out in a wider row", x, weight, std::nullopt, out);
    for (const Tensor& around : {slice(whole, 2, 0, 3), slice(whole, 2, 9, 11)}) {
      for (double value : values_of(around)) CHECK_EQUAL(value, 7.0);
    }
    // Rows at no single stride, and features that are not adjacent: by way of a temporary.
    const Tensor swapped = transpose(make_tensor(DType::kFloat32, {5, 4, 6}, std::vector<double>(120, 7)), 0, 1);
    check_linear(kernel + " transposed out", x, weight, std::nullopt, linear(x, weight, std::nullopt, swapped));
    const Tensor columns = transpose(make_tensor(DType::kFloat32, {4, 6, 5}, std::vector<double>(120, 7)), 1, 2);
    check_linear(kernel + " out by columns", x, weight, std::nullopt, linear(x, weight, std::nullopt, columns));
  });
}

TEST(linear_of_nothing) {
  for_each_kernel<LinearProblem>([](const std::string&) {
    CHECK_EQUAL(linear(random_tensor(DType::kFloat32, {0, 3}, 1), random_tensor(DType::kFloat32, {4, 3}, 1), std::nullopt, std::nullopt).view.size(), 0);
    CHECK_EQUAL(linear(random_tensor(DType::kFloat32, {2, 3}, 1), random_tensor(DType::kFloat32, {0, 3}, 1), std::nullopt, std::nullopt).view.size(), 0);
    for (std::int64_t rows : {2, 20}) {  // no features: the bias alone
      const Tensor y = linear(random_tensor(DType::kBFloat16, {rows, 0}, 1), random_tensor(DType::kFloat32, {3, 0}, 1),
                              make_tensor(DType::kFloat32, {3}, {1, -2, 3}), std::nullopt);
      for (std::int64_t r = 0; r < rows; ++r) CHECK(values_of(slice(y, 0, r, r + 1)) == std::vector<double>({1, -2, 3}));
    }
  });
}

TEST(linear_does_not_depend_on_threads) {
  for_each_kernel<LinearProblem>([](const std::string&) {
    for (std::int64_t rows : {3, 150, 500}) {
      const Tensor x = random_tensor(DType::kBFloat16, {rows, 300}, 1), weight = random_tensor(DType::kBFloat16, {90, 300}, 2);
      inline_backend().set_num_threads(1);
      const std::vector<std::uint8_t> one = bytes_of(linear(x, weight, std::nullopt, std::nullopt));
      for (int threads : {2, 3, 16}) {
        inline_backend().set_num_threads(threads);
        CHECK(bytes_of(linear(x, weight, std::nullopt, std::nullopt)) == one);
      }
      inline_backend().set_num_threads(2);
    }
  });
}

TEST(linear_keeps_infinities_and_nan_to_their_rows) {
  for_each_kernel<LinearProblem>([](const std::string&) {
    for (std::int64_t rows : {3, 30}) {
      std::vector<double> values = random_values(rows * 20, DType::kFloat32, 1);
      values[0] = INFINITY;
      values[20] = NAN;
      const Tensor y = linear(make_tensor(DType::kFloat32, {rows, 20}, values), make_tensor(DType::kFloat32, {3, 20}, std::vector<double>(60, 0.5)),
                              std::nullopt, std::nullopt);
      const std::vector<double> result = values_of(y);
      for (std::size_t i = 0; i < result.size(); ++i) CHECK(i < 3 ? result[i] == INFINITY : i < 6 ? std::isnan(result[i]) : std::isfinite(result[i]));
    }
  });
}

TEST(linear_per_head_matches_float64) {
  for_each_kernel<LinearProblem>([](const std::string& kernel) {
    for (std::int64_t rows : {0, 1, 6, 40}) {
      const std::int64_t heads = 5, in = 37, out = 66;
      const Tensor x = slice(random_tensor(DType::kBFloat16, {rows, heads, in + 4}, 1), 2, 2, in + 2);
      const Tensor weight = random_tensor(DType::kFloat32, {heads, out, in}, 2);
      const Tensor y = linear_per_head(x, weight);
      const std::vector<double> xs = values_of(x), ws = values_of(weight), ys = values_of(y);
      CHECK_EQUAL(shape_text(y.view), std::string("[").append(std::to_string(rows)) + ", 5, 66]");
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t h = 0; h < heads; ++h) {
          for (std::int64_t o = 0; o < out; ++o) {
            check_row_product(kernel, &xs[(r * heads + h) * in], &ws[(h * out + o) * in], in, 0, DType::kBFloat16, ys[(r * heads + h) * out + o]);
          }
        }
      }
    }
  });
}

TEST(linear_refuses_what_does_not_fit) {
  register_test_kernels();
  const Tensor x = random_tensor(DType::kFloat32, {2, 3}, 1), weight = random_tensor(DType::kFloat32, {4, 3}, 2);
  const auto call = [&](const Tensor& x, const Tensor& weight, std::optional<Tensor> bias, std::optional<Tensor> out) {
    return error_of([&] { linear(x, weight, bias, out); });
  };
  CHECK_EQUAL(call(x, random_tensor(DType::kFloat32, {4, 5}, 1), {}, {}), "weight: expected inFeatures (axis 1) to be 3, received [4, 5]");
  CHECK_EQUAL(call(x, x, random_tensor(DType::kFloat32, {3}, 1), {}), "bias: expected outFeatures (axis 0) to be 2, received [3]");
  CHECK_EQUAL(call(x, make_tensor(DType::kFloat8E4M3, {4, 3}, std::vector<double>(12)), {}, {}),
              "weight: expected dtype float32, float16 or bfloat16, received float8_e4m3");
  CHECK_EQUAL(call(x, weight, {}, random_tensor(DType::kFloat32, {2, 3}, 1)), "out: expected shape [2, 4], received [2, 3]");
  CHECK_EQUAL(call(x, weight, {}, random_tensor(DType::kFloat16, {2, 4}, 1)), "out: expected the dtype of x (float32), received float16");
  const Tensor square = random_tensor(DType::kFloat32, {3, 3}, 1);
  CHECK_EQUAL(call(square, square, {}, square), "out: expected memory that does not overlap x, received overlapping memory");
  Tensor repeated = random_tensor(DType::kFloat32, {1, 4}, 1);
  repeated.view.shape[0] = 2;
  repeated.view.strides[0] = 0;
  CHECK_EQUAL(call(x, weight, {}, repeated), "out: expected a tensor whose elements do not share memory, received [2, 4]");
  CHECK_EQUAL(error_of([&] { linear_per_head(x, weight); }), "x: expected shape [rows, heads, inFeatures], received [2, 3]");
}

}  // namespace attn::test
