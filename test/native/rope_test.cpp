// rope on every kernel against complex rotations in float64; frequencies against each scaling's definition.

#include <cmath>
#include <complex>
#include <numbers>

#include "check.h"
#include "core/rope.h"
#include "core/rows.h"
#include "ops_support.h"

namespace attn::test {
namespace {

RopeOptions options_of(int dim, bool interleaved) {
  RopeOptions options;
  options.dim = dim;
  options.interleaved = interleaved;
  return options;
}

/// x and y [batch, len, heads, width]; positions one per token.
void check_rope(const std::string& text, const std::vector<double>& x, const Tensor& y, const std::vector<std::int32_t>& positions, const RopeOptions& o) {
  const std::vector<double> ys = values_of(y);
  const std::int64_t heads = y.view.shape[2], width = y.view.shape[3], half = o.dim / 2;
  CHECK_EQUAL(ys.size(), x.size());
  for (std::int64_t row = 0; row * width < static_cast<std::int64_t>(x.size()); ++row) {
    const double *from = &x[row * width], *to = &ys[row * width];
    const std::int64_t start = width - o.dim;
    for (std::int64_t i = 0; i < start; ++i) CHECK_EQUAL(to[i], from[i]);
    for (std::int64_t pair = 0; pair < half; ++pair) {
      const std::int64_t a = start + (o.interleaved ? 2 * pair : pair), b = start + (o.interleaved ? 2 * pair + 1 : pair + half);
      const double angle = positions[row / heads] * std::pow(o.theta, -2.0 * static_cast<double>(pair) / o.dim);
      const std::complex<double> rotated = std::complex<double>(from[a], from[b]) * std::polar(o.magnitude, angle);
      // cos, sin and two products in float32, then the output.
      const double tolerance = 4 * 0x1p-24 * o.magnitude * (std::fabs(from[a]) + std::fabs(from[b]));
      const double unit = 1.01 * rounding_unit(y.view.dtype);
      CHECK_NEAR_IN(text, to[a], rotated.real(), tolerance + unit * std::fabs(rotated.real()) + smallest_unit(y.view.dtype));
      CHECK_NEAR_IN(text, to[b], rotated.imag(), tolerance + unit * std::fabs(rotated.imag()) + smallest_unit(y.view.dtype));
    }
  }
}

std::vector<std::int32_t> counting(std::int64_t batch, std::int64_t len) {
  std::vector<std::int32_t> positions;
  for (std::int64_t i = 0; i < batch * len; ++i) positions.push_back(static_cast<std::int32_t>(i % len));
  return positions;
}

Tensor int_tensor(const std::vector<std::int64_t>& shape, const std::vector<std::int32_t>& values) {
  return make_tensor(DType::kInt32, shape, std::vector<double>(values.begin(), values.end()));
}

}  // namespace

TEST(rope_matches_float64) {
  for_each_kernel<RopeProblem>([](const std::string& kernel) {
    std::uint32_t seed = 1;
    for (const bool interleaved : {false, true}) {
      for (const auto& [width, dim] : {std::pair{2, 2}, {6, 6}, {10, 4}, {64, 64}, {128, 128}, {130, 66}, {192, 64}}) {
        for (DType dtype : kComputeDTypeList) {
          const Tensor x = random_tensor(dtype, {2, 5, 3, width}, ++seed);
          RopeOptions options = options_of(dim, interleaved);
          options.theta = seed % 2 ? 10000 : 500000;
          options.magnitude = seed % 3 ? 1 : 1.25;
          const std::string text =
              kernel + " width " + std::to_string(width) + " dim " + std::to_string(dim) + (interleaved ? " interleaved " : " ") + dtype_name(dtype);
          check_rope(text, values_of(x), rope(x, std::nullopt, std::nullopt, options), counting(2, 5), options);
        }
      }
    }
  });
}

TEST(rope_takes_any_positions) {
  for_each_kernel<RopeProblem>([](const std::string& kernel) {
    const std::vector<std::int32_t> positions = {7, 0, 1000000, -5, 131071, 2147483647};
    const Tensor x = random_tensor(DType::kFloat32, {2, 3, 2, 32}, 1);
    for (const bool interleaved : {false, true}) {
      const RopeOptions options = options_of(32, interleaved);
      check_rope(kernel, values_of(x), rope(x, int_tensor({2, 3}, positions), std::nullopt, options), positions, options);
      const Tensor by_columns = transpose(int_tensor({3, 2}, {7, -5, 0, 131071, 1000000, 2147483647}), 0, 1);
      check_rope(kernel + " strided positions", values_of(x), rope(x, by_columns, std::nullopt, options), positions, options);
    }
  });
}

TEST(rope_in_place_strided_and_into_out) {
  for_each_kernel<RopeProblem>([](const std::string& kernel) {
    for (const bool interleaved : {false, true}) {
      const RopeOptions options = options_of(12, interleaved);
      const Tensor whole = random_tensor(DType::kBFloat16, {2, 4, 3, 30}, 1);
      const Tensor x = slice(whole, 3, 5, 25);
      const std::vector<double> before = values_of(x), around = values_of(slice(whole, 3, 25, 30));
      check_rope(kernel + " strided", before, rope(x, std::nullopt, std::nullopt, options), counting(2, 4), options);
      const Tensor y = rope(x, std::nullopt, x, options);
      CHECK(is_same_view(y.view, x.view));
      check_rope(kernel + " in place", before, x, counting(2, 4), options);
      CHECK(values_of(slice(whole, 3, 25, 30)) == around);
      const Tensor features_apart = transpose(random_tensor(DType::kBFloat16, {2, 4, 20, 3}, 2), 2, 3);
      const Tensor heads_first = transpose(random_tensor(DType::kBFloat16, {2, 3, 4, 20}, 3), 1, 2);
      const std::vector<double> apart = values_of(features_apart);
      check_rope(kernel + " into another layout", apart, rope(features_apart, std::nullopt, heads_first, options), counting(2, 4), options);
      check_rope(kernel + " features apart, in place", apart, rope(features_apart, std::nullopt, features_apart, options), counting(2, 4), options);
    }
  });
}

TEST(rope_frequencies_without_scaling_and_linear) {
  RopeOptions options = options_of(8, false);
  const std::vector<double> plain = rope_inverse_frequencies(options);
  CHECK_EQUAL(plain.size(), std::size_t{4});
  for (int i = 0; i < 4; ++i) CHECK_NEAR(plain[i], std::pow(10.0, -i), 1e-15);  // 10000^(-2i/8)
  options.scaling = RopeScaling::kLinear;
  options.factor = 4;
  const std::vector<double> linear = rope_inverse_frequencies(options);
  for (int i = 0; i < 4; ++i) CHECK_NEAR(linear[i], plain[i] / 4, 1e-16);
}

TEST(rope_frequencies_llama3) {
  RopeOptions options = options_of(128, false);
  options.theta = 500000;
  const std::vector<double> plain = rope_inverse_frequencies(options);
  options.scaling = RopeScaling::kLlama3;
  options.factor = 8;
  options.low_freq_factor = 1;
  options.high_freq_factor = 4;
  options.original_max_positions = 8192;
  const std::vector<double> scaled = rope_inverse_frequencies(options);
  int kept = 0, divided = 0, blended = 0;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const double wavelength = 2 * std::numbers::pi / plain[i];
    if (wavelength < 8192.0 / 4) {
      CHECK_EQUAL(scaled[i], plain[i]);
      ++kept;
    } else if (wavelength > 8192) {
      CHECK_NEAR(scaled[i], plain[i] / 8, 1e-18);
      ++divided;
    } else {
      const double smooth = (8192 / wavelength - 1) / (4 - 1);
      CHECK_NEAR(scaled[i], (1 - smooth) * plain[i] / 8 + smooth * plain[i], 1e-17);
      ++blended;
    }
  }
  CHECK(kept > 0 && divided > 0 && blended > 0);
  options.high_freq_factor = options.low_freq_factor;  // no room to blend
  for (double frequency : rope_inverse_frequencies(options)) CHECK(std::isfinite(frequency));
}

TEST(rope_frequencies_yarn) {
  // DeepSeek-V2's numbers: the correction range is floor(10.4…) = 10 to ceil(22.5…) = 23 of 32 pairs.
  RopeOptions options = options_of(64, true);
  const std::vector<double> plain = rope_inverse_frequencies(options);
  options.scaling = RopeScaling::kYarn;
  options.factor = 40;
  options.original_max_positions = 4096;
  const std::vector<double> scaled = rope_inverse_frequencies(options);
  for (int i = 0; i < 32; ++i) {
    const double ramp = i < 10 ? 0 : i > 23 ? 1 : (i - 10) / 13.0;
    CHECK_NEAR_IN("pair " + std::to_string(i), scaled[i], plain[i] / 40 * ramp + plain[i] * (1 - ramp), 1e-15);
  }
  options.original_max_positions = 4;  // both ends clamp to the same pair
  for (double frequency : rope_inverse_frequencies(options)) CHECK(std::isfinite(frequency));
}

TEST(rope_of_nothing) {
  for_each_kernel<RopeProblem>([](const std::string&) {
    CHECK_EQUAL(rope(random_tensor(DType::kFloat32, {2, 0, 3, 4}, 1), std::nullopt, std::nullopt, options_of(4, true)).view.size(), 0);
    CHECK_EQUAL(rope(random_tensor(DType::kFloat32, {2, 3, 0, 4}, 1), std::nullopt, std::nullopt, options_of(4, true)).view.size(), 0);
  });
}

TEST(rope_refuses_what_does_not_fit) {
  register_test_kernels();
  const Tensor x = random_tensor(DType::kFloat32, {1, 4, 2, 8}, 1);
  const auto call = [](const Tensor& x, std::optional<Tensor> positions, std::optional<Tensor> out, int dim) {
    return error_of([&] { rope(x, positions, out, options_of(dim, false)); });
  };
  CHECK_EQUAL(call(x, {}, {}, 7), "dim: expected an even number from 2 to the width of x (8), received 7");
  CHECK_EQUAL(call(x, {}, {}, 10), "dim: expected an even number from 2 to the width of x (8), received 10");
  CHECK_EQUAL(call(x, {}, {}, 0), "dim: expected an even number from 2 to the width of x (8), received 0");
  CHECK_EQUAL(call(x, int_tensor({1, 3}, {0, 1, 2}), {}, 8), "positions: expected len (axis 1) to be 4, received [1, 3]");
  CHECK_EQUAL(call(x, random_tensor(DType::kFloat32, {1, 4}, 1), {}, 8), "positions: expected dtype int32, received float32");
  CHECK_EQUAL(call(slice(x, 1, 0, 3), {}, slice(x, 1, 1, 4), 8), "out: expected memory that does not overlap x, received overlapping memory");
}

}  // namespace attn::test
