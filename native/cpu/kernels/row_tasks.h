#pragma once
// Rows that move one by one, cut into tasks of about the same size.

#include <algorithm>
#include <cstdint>

#include "core/execution.h"

namespace attn::cpu {

/// Calls fn(row) for `rows` rows of `width` elements.
template <class Fn>
void for_rows(Execution& execution, std::int64_t rows, std::int64_t width, Fn&& fn) {
  constexpr std::int64_t kTaskElements = 1 << 15;
  const std::int64_t step = std::max<std::int64_t>(1, kTaskElements / std::max<std::int64_t>(width, 1));
  execution.parallel_for((rows + step - 1) / step, [&](std::int64_t task, int) {
    for (std::int64_t row = task * step; row < std::min((task + 1) * step, rows); ++row) fn(row);
  });
}

}  // namespace attn::cpu
