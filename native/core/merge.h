#pragma once

#include <cstdint>
#include <vector>

#include "core/queued_work.h"
#include "core/tensor.h"

namespace attn {

/// out = Σ exp(lse_i - lse) out_i, lse = log Σ exp(lse_i), row by row. +inf counts as -inf, NaN propagates, a state of
/// weight 0 is not read. All rows unseen: out 0, lse -inf.
struct MergeProblem {
  struct State {
    TensorView out;  // [batch, len, heads, dim], last axis stride 1
    TensorView lse;  // [batch, heads, len] float32
  };
  std::vector<State, WorkAllocator<State>> states;
  State result;
  std::int64_t batch = 0, len = 0, heads = 0, dim = 0;  // packed rows are a batch of 1

  WorkSize work_size() const {
    const double numbers = static_cast<double>(batch * len * heads) * static_cast<double>(dim + 32);  // an exponential a row
    return {4 * numbers * static_cast<double>(states.size()), 4 * numbers * static_cast<double>(states.size() + 1)};
  }
};

struct MergedState {
  Tensor out, lse;
};

/// outs [batch, len, heads, dim] with lses [batch, heads, len], or [total, heads, dim] with [heads, total]; at least one.
MergedState merge_states(const std::vector<Tensor>& outs, const std::vector<Tensor>& lses);

}  // namespace attn
