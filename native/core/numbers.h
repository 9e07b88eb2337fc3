#pragma once
// Numbers of the host to elements of a tensor, each rounded once.

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"

namespace attn {

/// dst gets `count` packed elements. Float types round to nearest even; int32 cuts toward zero and saturates, NaN gives 0.
void numbers_to_dtype(const double* numbers, std::int64_t count, DType dtype, std::byte* dst);
void numbers_to_dtype(const float* numbers, std::int64_t count, DType dtype, std::byte* dst);
void numbers_to_dtype(const std::int32_t* numbers, std::int64_t count, DType dtype, std::byte* dst);

}  // namespace attn
