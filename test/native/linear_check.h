#pragma once
// Results of linear beside float64 loops.

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "check.h"
#include "core/linear.h"
#include "core/rows.h"
#include "ops_support.h"

namespace attn::test {

/// y[r, o] and the bound of its error: float32 sums in any order, then rounding to the output.
inline void check_row_product(const std::string& text, const double* x, const double* weight, std::int64_t depth, double bias, DType dtype, double actual) {
  double sum = bias, magnitude = std::fabs(bias);
  for (std::int64_t i = 0; i < depth; ++i) {
    sum += x[i] * weight[i];
    magnitude += std::fabs(x[i] * weight[i]);
  }
  const double tolerance = static_cast<double>(depth + 2) * 0x1p-24 * magnitude + 1.01 * rounding_unit(dtype) * std::fabs(sum) + smallest_unit(dtype);
  CHECK_NEAR_IN(text, actual, sum, tolerance);
}

inline void check_linear(const std::string& text, const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, const Tensor& y) {
  const std::vector<double> xs = values_of(x), ws = values_of(weight), bs = bias ? values_of(*bias) : std::vector<double>(), ys = values_of(y);
  const std::int64_t rows = count_rows(x.view), in = weight.view.shape[1], out = weight.view.shape[0];
  CHECK_EQUAL(y.view.size(), rows * out);
  CHECK(y.view.dtype == x.view.dtype);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t o = 0; o < out; ++o) {
      check_row_product(text, &xs[r * in], &ws[o * in], in, bias ? bs[o] : 0, y.view.dtype, ys[r * out + o]);
    }
  }
}

inline std::string case_text(const std::string& kernel, const Tensor& x, const Tensor& weight) {
  return kernel + " x " + shape_text(x.view) + " " + dtype_name(x.view.dtype) + ", weight " + shape_text(weight.view) + " " + dtype_name(weight.view.dtype);
}

}  // namespace attn::test
