// rms_norm on every kernel against float64 loops.

#include <cmath>

#include "check.h"
#include "core/rms_norm.h"
#include "core/rows.h"
#include "ops_support.h"

namespace attn::test {
namespace {

void check_rms_norm(const std::string& text, const std::vector<double>& x, const std::vector<double>& weight, double eps, const Tensor& y) {
  const std::size_t width = weight.size();
  const std::vector<double> ys = values_of(y);
  CHECK_EQUAL(ys.size(), x.size());
  for (std::size_t row = 0; row < x.size(); row += width) {
    double squares = 0;
    for (std::size_t i = 0; i < width; ++i) squares += x[row + i] * x[row + i];
    const double factor = 1 / std::sqrt(squares / static_cast<double>(width) + eps);
    for (std::size_t i = 0; i < width; ++i) {
      const double expected = x[row + i] * factor * weight[i];
      // All squares are positive: the float32 sum is off by at most width / 2 rounding units, of which the root halves the effect.
      const double tolerance = std::fabs(expected) * ((static_cast<double>(width) / 2 + 6) * 0x1p-24 + 1.01 * rounding_unit(y.view.dtype));
      CHECK_NEAR_IN(text, ys[row + i], expected, tolerance + smallest_unit(y.view.dtype));
    }
  }
}

}  // namespace

TEST(rms_norm_matches_float64) {
  for_each_kernel<RmsNormProblem>([](const std::string& kernel) {
    std::uint32_t seed = 1;
    for (std::int64_t width : {1, 3, 8, 17, 64, 100, 576, 2049}) {
      for (DType dtype : kComputeDTypeList) {
        for (DType weight_dtype : kComputeDTypeList) {
          const Tensor x = random_tensor(dtype, {3, 5, width}, ++seed), weight = random_tensor(weight_dtype, {width}, ++seed);
          const float eps = seed % 4 == 1 ? 0.25f : 1e-6f;
          check_rms_norm(kernel + " width " + std::to_string(width) + " " + dtype_name(dtype), values_of(x), values_of(weight), eps,
                         rms_norm(x, weight, eps, std::nullopt));
        }
      }
    }
  });
}

TEST(rms_norm_in_place_strided_and_into_out) {
  for_each_kernel<RmsNormProblem>([](const std::string& kernel) {
    const Tensor weight = random_tensor(DType::kFloat32, {19}, 1);
    for (DType dtype : kComputeDTypeList) {
      const Tensor whole = random_tensor(dtype, {4, 6, 40}, 2);
      for (const Tensor& x : {slice(whole, 2, 3, 22), transpose(slice(whole, 2, 20, 39), 0, 1)}) {
        const std::vector<double> before = values_of(x), around = values_of(slice(whole, 2, 39, 40));
        const Tensor y = rms_norm(x, weight, 1e-6f, x);
        CHECK(is_same_view(y.view, x.view));
        check_rms_norm(kernel + " in place", before, values_of(weight), 1e-6f, x);
        CHECK(values_of(slice(whole, 2, 39, 40)) == around);
      }
      const Tensor columns = transpose(random_tensor(dtype, {4, 19, 6}, 3), 1, 2);
      const std::vector<double> before = values_of(columns);
      check_rms_norm(kernel + " by columns", before, values_of(weight), 1e-6f, rms_norm(columns, weight, 1e-6f, std::nullopt));
      check_rms_norm(kernel + " by columns, in place", before, values_of(weight), 1e-6f, rms_norm(columns, weight, 1e-6f, columns));
    }
  });
}

TEST(rms_norm_of_nothing) {
  for_each_kernel<RmsNormProblem>([](const std::string&) {
    CHECK_EQUAL(rms_norm(random_tensor(DType::kFloat32, {0, 4}, 1), random_tensor(DType::kFloat32, {4}, 1), 1e-6f, std::nullopt).view.size(), 0);
    CHECK_EQUAL(rms_norm(random_tensor(DType::kFloat32, {3, 0}, 1), random_tensor(DType::kFloat32, {0}, 1), 1e-6f, std::nullopt).view.size(), 0);
  });
}

TEST(rms_norm_refuses_what_does_not_fit) {
  register_test_kernels();
  const Tensor x = random_tensor(DType::kFloat32, {4, 8}, 1), weight = random_tensor(DType::kFloat32, {8}, 2);
  const auto call = [](const Tensor& x, const Tensor& weight, std::optional<Tensor> out) { return error_of([&] { rms_norm(x, weight, 1e-6f, out); }); };
  CHECK_EQUAL(call(x, random_tensor(DType::kFloat32, {7}, 1), {}), "weight: expected width (axis 0) to be 8, received [7]");
  CHECK_EQUAL(call(slice(x, 0, 0, 3), weight, slice(x, 0, 1, 4)), "out: expected memory that does not overlap x, received overlapping memory");
  CHECK_EQUAL(call(make_tensor(DType::kInt32, {4, 8}, std::vector<double>(32)), weight, {}), "x: expected dtype float32, float16 or bfloat16, received int32");
}

}  // namespace attn::test
