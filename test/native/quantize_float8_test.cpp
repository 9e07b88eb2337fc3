// quantize_float8 on every kernel against float64 loops; codes and scales exactly.

#include <algorithm>
#include <cmath>

#include "check.h"
#include "core/quantize_float8.h"
#include "ops_support.h"

namespace attn::test {
namespace {

/// The nearest multiple of 2^(exponent - 3), ties to even, of what is not beyond ±448.
double nearest_code(double value) {
  if (std::isnan(value) || value == 0) return value;
  const double clamped = std::clamp(value, -448.0, 448.0);
  const double step = std::exp2(std::max(std::floor(std::log2(std::fabs(clamped))), -6.0) - 3);
  return std::nearbyint(clamped / step) * step;
}

/// x [batch, len, heads, dim].
void check_quantized(const std::string& text, const Tensor& x, std::int64_t group_size, const QuantizedTensor& made) {
  const auto* shape = x.view.shape.data();
  const std::int64_t groups = shape[2] / group_size;
  const std::vector<double> numbers = values_of(x), codes = values_of(made.codes), scales = values_of(made.scales);
  CHECK_EQUAL(codes.size(), numbers.size());
  CHECK_EQUAL(static_cast<std::int64_t>(scales.size()), shape[0] * groups);
  const auto group_of = [&](std::size_t i) {
    const std::int64_t at = static_cast<std::int64_t>(i) / shape[3];
    return static_cast<std::size_t>(at / (shape[1] * shape[2]) * groups + at % shape[2] / group_size);
  };
  std::vector<double> most(scales.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) most[group_of(i)] = std::max(most[group_of(i)], std::fabs(numbers[i]));
  for (std::size_t g = 0; g < scales.size(); ++g) {
    const double scale = most[g] == 0 ? 1 : std::max<double>(static_cast<float>(most[g]) / 448.0f, 0x1p-126);
    CHECK_NEAR_IN(text + " scale", scales[g], scale, 0);
  }
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const double quotient = static_cast<float>(numbers[i]) / static_cast<float>(scales[group_of(i)]);
    CHECK_NEAR_IN(text, codes[i], nearest_code(quotient), 0);
  }
}

}  // namespace

TEST(quantize_float8_matches_float64) {
  for_each_kernel<QuantizeFloat8Problem>([](const std::string& kernel) {
    std::uint32_t seed = 1;
    for (std::int64_t dim : {1, 3, 8, 17, 64, 128, 200, 1025}) {
      for (DType dtype : kComputeDTypeList) {
        for (std::int64_t group_size : {1, 3}) {
          const Tensor x = random_tensor(dtype, {2, dim > 100 ? 5 : 23, 6, dim}, ++seed);
          const std::string text = kernel + " dim " + std::to_string(dim) + " " + dtype_name(dtype);
          check_quantized(text, x, group_size, quantize_float8(x, group_size, nullptr, {}));
          const Tensor turned = transpose(x, 1, 3);
          check_quantized(text + " turned", turned, group_size, quantize_float8(turned, group_size, nullptr, {}));
        }
      }
    }
  });
}

TEST(quantize_float8_writes_into_strides) {
  for_each_kernel<QuantizeFloat8Problem>([](const std::string& kernel) {
    const Tensor x = random_tensor(DType::kBFloat16, {2, 5, 4, 19}, 1);
    const Tensor whole = random_tensor(DType::kFloat8E4M3, {2, 4, 5, 30}, 2);
    const std::vector<std::uint8_t> around = bytes_of(slice(whole, 3, 24, 30));
    const QuantizedTensor out{transpose(slice(whole, 3, 5, 24), 1, 2), transpose(random_tensor(DType::kFloat32, {2, 2}, 3), 0, 1)};
    quantize_float8(x, 2, nullptr, out);
    check_quantized(kernel, x, 2, out);
    CHECK(bytes_of(slice(whole, 3, 24, 30)) == around);
  });
}

TEST(quantize_float8_of_packed_sequences) {
  for_each_kernel<QuantizeFloat8Problem>([](const std::string&) {
    const Tensor x = random_tensor(DType::kFloat32, {900, 3, 40}, 1);
    const std::vector<std::int32_t> indptr = {0, 0, 700, 701, 900};
    const QuantizedTensor made = quantize_float8(x, 1, std::make_shared<const std::vector<std::int32_t>>(indptr), {});
    for (std::size_t b = 0; b + 1 < indptr.size(); ++b) {
      Tensor part = slice(x, 0, indptr[b], indptr[b + 1]);
      if (part.view.size() == 0) {
        CHECK(values_of(slice(made.scales, 0, 0, 1)) == std::vector<double>(3, 1.0));
        continue;
      }
      const QuantizedTensor alone = quantize_float8(part, 1, nullptr, {});
      CHECK(bytes_of(alone.codes) == bytes_of(slice(made.codes, 0, indptr[b], indptr[b + 1])));
      CHECK(bytes_of(alone.scales) == bytes_of(slice(made.scales, 0, static_cast<std::int64_t>(b), static_cast<std::int64_t>(b) + 1)));
    }
  });
}

TEST(quantize_float8_of_nothing) {
  for_each_kernel<QuantizeFloat8Problem>([](const std::string&) {
    const QuantizedTensor empty = quantize_float8(random_tensor(DType::kFloat32, {2, 0, 4, 8}, 1), 2, nullptr, {});
    CHECK(values_of(empty.scales) == std::vector<double>(4, 1.0));
    CHECK_EQUAL(quantize_float8(random_tensor(DType::kFloat32, {0, 3, 4, 8}, 1), 2, nullptr, {}).scales.view.size(), 0);
    CHECK(values_of(quantize_float8(random_tensor(DType::kFloat32, {1, 3, 2, 0}, 1), 1, nullptr, {}).scales) == std::vector<double>(2, 1.0));
  });
}

TEST(quantize_float8_refuses_what_does_not_fit) {
  register_test_kernels();
  const Tensor x = random_tensor(DType::kFloat32, {2, 3, 4, 8}, 1);
  const auto call = [](const Tensor& x, std::int64_t group_size, std::optional<QuantizedTensor> out) {
    return error_of([&] { quantize_float8(x, group_size, nullptr, out); });
  };
  CHECK_EQUAL(call(x, 3, {}), "groupSize: expected a divisor of numHeads (4), received 3");
  CHECK_EQUAL(call(x, 0, {}), "groupSize: expected a divisor of numHeads (4), received 0");
  CHECK_EQUAL(call(slice(x, 0, 0, 1), 1, QuantizedTensor{random_tensor(DType::kFloat8E4M3, {1, 3, 4, 8}, 1), slice(x, 0, 1, 2)}),
              "out.scales: expected shape [1, 4], received [1, 3, 4, 8]");
}

}  // namespace attn::test
