#pragma once

#include <cstdint>
#include <limits>

namespace attn {

/// What a call computes and touches at most: a device guesses from it how long the call takes. Problems that know it say so by `work_size()`;
/// of others nothing is known.
struct WorkSize {
  double operations = std::numeric_limits<double>::infinity();
  double bytes = 0;
};

}  // namespace attn
