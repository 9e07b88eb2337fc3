#include "core/numbers.h"

#include "core/elements.h"

namespace attn {
namespace {

template <class Number>
void store_all(const Number* numbers, std::int64_t count, DType dtype, std::byte* dst) {
  with_dtype(dtype, [&](auto constant) {
    using Target = Element<constant.value>;
    auto* elements = reinterpret_cast<typename Target::Bits*>(dst);
    for (std::int64_t i = 0; i < count; ++i) {
      // float32 to int32 goes by way of double, which is exact.
      if constexpr (constant.value == DType::kInt32 && std::is_same_v<Number, float>) {
        elements[i] = Target::store(static_cast<double>(numbers[i]));
      } else {
        elements[i] = Target::store(numbers[i]);
      }
    }
  });
}

}  // namespace

void numbers_to_dtype(const double* numbers, std::int64_t count, DType dtype, std::byte* dst) { store_all(numbers, count, dtype, dst); }
void numbers_to_dtype(const float* numbers, std::int64_t count, DType dtype, std::byte* dst) { store_all(numbers, count, dtype, dst); }
void numbers_to_dtype(const std::int32_t* numbers, std::int64_t count, DType dtype, std::byte* dst) { store_all(numbers, count, dtype, dst); }

}  // namespace attn
