#include "core/merge.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/enqueue.h"
#include "core/rows.h"

namespace attn {
namespace {

/// Packed rows as a batch of one.
TensorView with_batch_axis(const TensorView& view, int rank) {
  if (view.rank == rank) return view;
  TensorView batched = view;
  batched.rank = rank;
  batched.shape[0] = 1;
  batched.strides[0] = 0;
  for (int i = 1; i < rank; ++i) {
    batched.shape[i] = view.shape[i - 1];
    batched.strides[i] = view.strides[i - 1];
  }
  return batched;
}

MergeProblem::State state_of(const Tensor& out, const Tensor& lse) { return {with_batch_axis(out.view, 4), with_batch_axis(lse.view, 3)}; }

std::vector<std::int64_t> lse_shape(const TensorView& out) {
  if (out.rank == 4) return {out.shape[0], out.shape[2], out.shape[1]};
  return {out.shape[1], out.shape[0]};
}

void check_shape(const std::string& argument, const TensorView& view, const std::vector<std::int64_t>& shape, const char* dims) {
  if (shape_of(view) == shape) return;
  const TensorView wanted = contiguous_view(view.dtype, view.device, nullptr, shape);
  fail_argument(ErrorCode::kShapeMismatch, argument, std::string(dims) + " " + shape_text(wanted), shape_text(view));
}

template <std::size_t kRank>
bool has_shape(const TensorView& view, const std::array<std::int64_t, kRank>& shape) {
  return view.rank == static_cast<int>(kRank) && std::equal(shape.begin(), shape.end(), view.shape.begin());
}

/// What check_state looks at, without the words.
bool fits(const TensorView& first, const TensorView& out, const TensorView& lse) {
  const auto& s = first.shape;
  const bool shapes = first.rank == 4 ? has_shape<4>(out, {s[0], s[1], s[2], s[3]}) && has_shape<3>(lse, {s[0], s[2], s[1]})
                                      : has_shape<3>(out, {s[0], s[1], s[2]}) && has_shape<2>(lse, {s[1], s[0]});
  return shapes && out.dtype == first.dtype && lse.dtype == DType::kFloat32 && out.device == first.device && lse.device == first.device;
}

void check_state(std::size_t i, const TensorView& first, const TensorView& out, const TensorView& lse) {
  const std::string out_name = "states[" + std::to_string(i) + "].out", lse_name = "states[" + std::to_string(i) + "].lse";
  check_shape(out_name, out, shape_of(first), "the shape of states[0].out");
  check_same_dtype(out_name.c_str(), out, "states[0].out", first);
  check_same_device(out_name.c_str(), out, "states[0].out", first);
  check_shape(lse_name, lse, lse_shape(first), first.rank == 4 ? "[batch, numQoHeads, qoLen]" : "[numQoHeads, totalQo]");
  check_dtype(lse_name.c_str(), lse, DType::kFloat32);
  check_same_device(lse_name.c_str(), lse, "states[0].out", first);
}

}  // namespace

MergedState merge_states(const std::vector<Tensor>& outs, const std::vector<Tensor>& lses) {
  if (outs.empty()) fail_argument(ErrorCode::kInvalidArgument, "states", "at least one state", "none");
  if (lses.size() != outs.size()) {
    fail_argument(ErrorCode::kInvalidArgument, "states", "one lse for each out (" + std::to_string(outs.size()) + ")", std::to_string(lses.size()));
  }
  const TensorView& first = outs[0].view;
  if (first.rank != 4) check_rank("states[0].out", first, 3, "[batch, qoLen, numQoHeads, headDimVo] or [totalQo, numQoHeads, headDimVo]");
  check_compute_dtype("states[0].out", first);
  for (std::size_t i = 0; i < outs.size(); ++i) {
    if (!fits(first, outs[i].view, lses[i].view)) check_state(i, first, outs[i].view, lses[i].view);
  }

  Backend& backend = outs[0].storage->backend();
  MergeProblem problem;
  problem.states.reserve(outs.size());
  std::vector<Tensor> keep;
  keep.reserve(2 * outs.size() + 2);
  keep.insert(keep.end(), lses.begin(), lses.end());
  for (std::size_t i = 0; i < outs.size(); ++i) {
    keep.push_back(with_dense_rows(outs[i]));
    problem.states.push_back(state_of(keep.back(), lses[i]));
  }
  const MergedState merged{empty_tensor(backend, first.dtype, shape_of(first)), empty_tensor(backend, DType::kFloat32, lse_shape(first))};
  problem.result = state_of(merged.out, merged.lse);
  problem.batch = problem.result.out.shape[0];
  problem.len = problem.result.out.shape[1];
  problem.heads = problem.result.out.shape[2];
  problem.dim = problem.result.out.shape[3];
  keep.push_back(merged.out);
  keep.push_back(merged.lse);
  enqueue_kernel(backend, "mergeStates", std::move(problem), std::move(keep));
  return merged;
}

}  // namespace attn
