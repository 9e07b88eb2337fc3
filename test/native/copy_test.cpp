// copy between all pairs of dtypes and layouts, and numbers to dtypes: each result is the nearest representable number.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "check.h"
#include "core/copy.h"
#include "core/elements.h"
#include "core/numbers.h"
#include "cpu/kernels/convert_rows.h"
#include "ops_support.h"

namespace attn::test {
namespace {

constexpr DType kAll[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat8E4M3, DType::kInt32};
constexpr DType kNarrow[] = {DType::kFloat16, DType::kBFloat16, DType::kFloat8E4M3};

/// The nearest number of a narrow type by search through all of them; ties to the even bit pattern. What lies beyond the
/// middle between the largest and the next power-of-two step becomes infinite (NaN in float8).
class Nearest {
 public:
  explicit Nearest(DType dtype) : is_byte_(dtype == DType::kFloat8E4M3) {
    with_dtype(dtype, [&](auto d) {
      using E = Element<d.value>;
      for (unsigned bits = 0; bits < (is_byte_ ? 0x80u : 0x8000u); ++bits) {
        const double value = static_cast<double>(E::load(static_cast<typename E::Bits>(bits)));
        if (std::isfinite(value)) values_.push_back(value);  // positive bit patterns are in order
      }
    });
  }
  double operator()(double value) const {
    if (std::isnan(value)) return value;
    const double magnitude = std::fabs(value), largest = values_.back(), step = largest - values_[values_.size() - 2];
    const double limit = largest + step / 2;
    const bool largest_is_even = (values_.size() - 1) % 2 == 0;
    if (magnitude > limit || (magnitude == limit && !largest_is_even)) return is_byte_ ? NAN : std::copysign(INFINITY, value);
    const auto above = std::min<std::size_t>(std::lower_bound(values_.begin(), values_.end(), magnitude) - values_.begin(), values_.size() - 1);
    if (above == 0) return std::copysign(0.0, value);
    const double up = values_[above] - magnitude, down = magnitude - values_[above - 1];
    const bool take_above = up < down || (up == down && above % 2 == 0);
    return std::copysign(take_above ? values_[above] : values_[above - 1], value);
  }

 private:
  bool is_byte_;
  std::vector<double> values_;
};

double expected_in(DType dtype, double value, const Nearest* nearest) {
  if (nearest) return (*nearest)(value);
  if (dtype == DType::kFloat32) return static_cast<double>(static_cast<float>(value));
  if (std::isnan(value)) return 0;
  return std::trunc(std::clamp(value, -2147483648.0, 2147483647.0));
}

/// Edges of every type, midpoints between neighbours, and numbers so close beside a midpoint that rounding twice would err.
std::vector<double> telling_numbers() {
  std::vector<double> numbers = {0,        -0.0,     1,         -1,     0.5,   1.5,    -2.5,   448,      464,      464.0001,   480,          65504,
                                 65519.99, 65520,    1e30,      3.5e38, 1e300, -1e300, 1e-300, 0x1p-149, 0x1p-150, 2147483647, 2147483648.0, -2147483649.0,
                                 16777217, INFINITY, -INFINITY, NAN};
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    const auto mantissa = 1 + static_cast<double>(random() % (1 << 12)) / (1 << 12);
    const double midpoint = std::ldexp(mantissa, static_cast<int>(random() % 60) - 30);
    for (double factor : {1.0, 1 + 0x1p-40, 1 - 0x1p-40, -1.0}) numbers.push_back(midpoint * factor);
  }
  return numbers;
}

void check_values(const std::string& text, const std::vector<double>& actual, const std::vector<double>& expected) {
  CHECK_EQUAL(actual.size(), expected.size());
  for (std::size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) CHECK_NEAR_IN(text + " at " + std::to_string(i), actual[i], expected[i], 0);
}

}  // namespace

TEST(numbers_are_rounded_once) {
  const std::vector<double> numbers = telling_numbers();
  for (DType dtype : kAll) {
    const bool narrow = std::find(std::begin(kNarrow), std::end(kNarrow), dtype) != std::end(kNarrow);
    const Nearest nearest(narrow ? dtype : DType::kFloat16);
    const Tensor tensor = make_tensor(dtype, {static_cast<std::int64_t>(numbers.size())}, numbers);
    const std::vector<double> stored = values_of(tensor);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      CHECK_NEAR_IN(std::string(dtype_name(dtype)) + " of " + std::to_string(numbers[i]), stored[i],
                    expected_in(dtype, numbers[i], narrow ? &nearest : nullptr), 0);
    }
  }
  const std::vector<float> floats = {1.75f, -3e9f, NAN, 449};
  const std::vector<std::int32_t> ints = {2049, -2147483647, 16777217, 257};
  Tensor tensor = empty_tensor(inline_backend(), DType::kInt32, {4});
  numbers_to_dtype(floats.data(), 4, DType::kInt32, tensor.view.data);
  check_values("float32 numbers", values_of(tensor), {1, -2147483648.0, 0, 449});
  tensor = empty_tensor(inline_backend(), DType::kBFloat16, {4});
  numbers_to_dtype(ints.data(), 4, DType::kBFloat16, tensor.view.data);
  check_values("int32 numbers", values_of(tensor), {2048, -2147483648.0, 16777216, 256});
}

TEST(copy_converts_between_all_dtypes) {
  register_test_kernels();
  std::vector<double> numbers = random_values(300, DType::kFloat32, 1);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = std::ldexp(numbers[i], static_cast<int>(i % 12));
  numbers.insert(numbers.end(), {NAN, 0, -0.0, 447, 256});
  for (DType from : kAll) {
    const Tensor src = make_tensor(from, {5, 61}, numbers);
    for (DType to : kAll) {
      const bool narrow = std::find(std::begin(kNarrow), std::end(kNarrow), to) != std::end(kNarrow);
      const Nearest nearest(narrow ? to : DType::kFloat16);
      std::vector<double> expected;
      for (double value : values_of(src)) expected.push_back(expected_in(to, value, narrow ? &nearest : nullptr));
      const std::string text = std::string(dtype_name(from)) + " to " + dtype_name(to);
      const Tensor dst = empty_tensor(inline_backend(), to, {5, 61});
      copy_tensor(src, dst);
      check_values(text, values_of(dst), expected);
      const Tensor apart = transpose(empty_tensor(inline_backend(), to, {61, 5}), 0, 1);
      copy_tensor(src, apart);
      check_values(text + ", strided", values_of(apart), expected);
    }
  }
}

TEST(copy_keeps_the_bits_of_equal_dtypes) {
  register_test_kernels();
  std::vector<std::uint32_t> bits(512);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = 0x7f800001u + static_cast<std::uint32_t>(i) * 8209;  // signalling NaN among them
  for (DType dtype : kAll) {
    const std::int64_t count = 2048 / dtype_size(dtype);
    const Tensor src = empty_tensor(inline_backend(), dtype, {count / 2, 2});
    std::copy_n(reinterpret_cast<const std::byte*>(bits.data()), 2048, src.view.data);
    for (const Tensor& dst : {empty_tensor(inline_backend(), dtype, {count / 2, 2}), transpose(empty_tensor(inline_backend(), dtype, {2, count / 2}), 0, 1)}) {
      copy_tensor(src, dst);
      CHECK(bytes_of(dst) == bytes_of(src));
    }
  }
}

TEST(convert_rows_gives_the_bits_of_scalar_code) {
  std::vector<float> floats;
  for (std::uint32_t high = 0; high < 0x10000; ++high) {
    for (const std::uint32_t low : {0u, 0x0fffu, 0x1000u, 0x1001u, 0x7fffu, 0x8000u, 0x8001u}) floats.push_back(std::bit_cast<float>(high << 16 | low));
  }
  std::vector<std::uint16_t> shorts(65536 + 5);
  std::iota(shorts.begin(), shorts.end(), std::uint16_t{0});
  int tables = 0;
  const auto check = [&](const char* isa, const cpu::ConvertTable& table) {
    if (cpu::isa_missing(isa)) return;
    ++tables;
    for (DType from : kComputeDTypeList) {
      for (DType to : kComputeDTypeList) {
        const auto convert = table.convert[static_cast<int>(from)][static_cast<int>(to)];
        CHECK_EQUAL(convert == nullptr, from == to);
        if (!convert) continue;
        with_dtype(from, [&](auto source) {
          with_dtype(to, [&](auto target) {
            using Target = typename Element<decltype(target)::value>::Bits;
            const auto run = [&](const auto& input) {
              std::vector<Target> actual(input.size()), expected(input.size());
              convert(reinterpret_cast<const std::byte*>(input.data()), reinterpret_cast<std::byte*>(actual.data()), static_cast<std::int64_t>(input.size()));
              for (std::size_t i = 0; i < input.size(); ++i) expected[i] = convert_element<decltype(source)::value, decltype(target)::value>(input[i]);
              CHECK(std::memcmp(actual.data(), expected.data(), actual.size() * sizeof(Target)) == 0);
            };
            if constexpr (decltype(source)::value == DType::kFloat32) {
              run(floats);
            } else if constexpr (dtype_size(decltype(source)::value) == 2) {
              run(shorts);
            }
          });
        });
      }
    }
  };
#define ATTN_CHECK(isa) check(#isa, cpu::isa::kConvertTable);
  ATTN_FOR_EACH_ISA(ATTN_CHECK)
#undef ATTN_CHECK
  CHECK(tables > 0);
}

TEST(copy_takes_any_strides) {
  register_test_kernels();
  const Tensor whole = random_tensor(DType::kFloat32, {3, 4, 5, 6}, 1);
  Tensor broadcast = slice(whole, 0, 0, 1);
  broadcast.view.shape[0] = 3;
  broadcast.view.strides[0] = 0;
  const Tensor sources[] = {whole, transpose(whole, 0, 3), transpose(whole, 1, 2), slice(slice(whole, 1, 1, 3), 3, 2, 5), broadcast, slice(whole, 2, 0, 0)};
  for (const Tensor& src : sources) {
    const std::vector<std::int64_t> shape(src.view.shape.begin(), src.view.shape.begin() + 4);
    const Tensor dense = empty_tensor(inline_backend(), DType::kBFloat16, shape), same = empty_tensor(inline_backend(), DType::kFloat32, shape);
    copy_tensor(src, dense);
    copy_tensor(src, same);
    check_values(shape_text(src.view), values_of(same), values_of(src));
    const Tensor reversed = transpose(transpose(empty_tensor(inline_backend(), DType::kFloat32, {shape[3], shape[2], shape[1], shape[0]}), 0, 3), 1, 2);
    copy_tensor(src, reversed);
    check_values(shape_text(src.view) + " reversed", values_of(reversed), values_of(src));
    const Tensor back = empty_tensor(inline_backend(), DType::kFloat32, shape);
    copy_tensor(dense, back);
    check_values(shape_text(src.view) + " by way of bfloat16", values_of(back), values_of(dense));
  }
  const Tensor scalar = make_tensor(DType::kFloat32, {}, {4.5}), to = empty_tensor(inline_backend(), DType::kFloat16, {});
  copy_tensor(scalar, to);
  check_values("a scalar", values_of(to), {4.5});
}

TEST(copy_cuts_large_tensors_into_tasks) {
  register_test_kernels();
  // One long row, rows longer than a task, and many short rows.
  for (const auto& [rows, cols] : {std::pair{1, 200001}, {3, 70001}, {50000, 3}}) {
    const Tensor src = random_tensor(DType::kFloat16, {rows, cols}, 1);
    const Tensor wide = make_tensor(DType::kFloat32, {rows, cols + 2}, std::vector<double>(static_cast<std::size_t>(rows) * (cols + 2), 9));
    copy_tensor(src, slice(wide, 1, 1, cols + 1));
    CHECK(values_of(slice(wide, 1, 1, cols + 1)) == values_of(src));
    for (const Tensor& edge : {slice(wide, 1, 0, 1), slice(wide, 1, cols + 1, cols + 2)}) {
      const std::vector<double> values = values_of(edge);
      CHECK(std::all_of(values.begin(), values.end(), [](double value) { return value == 9; }));
    }
  }
}

TEST(copy_refuses_what_does_not_fit) {
  register_test_kernels();
  const Tensor a = random_tensor(DType::kFloat32, {2, 3}, 1);
  CHECK_EQUAL(error_of([&] { copy_tensor(a, random_tensor(DType::kFloat32, {3, 2}, 1)); }), "dst: expected the shape of src [2, 3], received [3, 2]");
  CHECK_EQUAL(error_of([&] { copy_tensor(slice(a, 0, 0, 1), slice(a, 0, 0, 1)); }),
              "dst: expected memory that does not overlap src, received overlapping memory");
  Tensor repeated = slice(a, 0, 0, 1);
  repeated.view.shape[0] = 2;
  repeated.view.strides[0] = 0;
  CHECK_EQUAL(error_of([&] {
                copy_tensor(random_tensor(DType::kFloat32, {2, 3}, 1), repeated);
              }),
              "dst: expected a tensor whose elements do not share memory, received [2, 3]");
}

}  // namespace attn::test
