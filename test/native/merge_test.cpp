// merge_states on every kernel against float64 loops.

#include <cmath>

#include "check.h"
#include "core/merge.h"
#include "ops_support.h"

namespace attn::test {
namespace {

struct States {
  std::vector<Tensor> outs, lses;
};

States random_states(int count, std::int64_t batch, std::int64_t len, std::int64_t heads, std::int64_t dim, DType dtype) {
  States states;
  for (int s = 0; s < count; ++s) {
    const auto seed = static_cast<std::uint32_t>(10 * s);
    states.outs.push_back(random_tensor(dtype, {batch, len, heads, dim}, seed + 1));
    std::vector<double> lse = random_values(batch * heads * len, DType::kFloat32, seed + 2);
    for (double& value : lse) value *= 20;
    states.lses.push_back(make_tensor(DType::kFloat32, {batch, heads, len}, lse));
  }
  return states;
}

/// Compares with [batch, len, heads, dim] states.
void check_merged(const std::string& text, const States& states, const MergedState& merged) {
  const TensorView& shape = states.outs[0].view;
  const std::int64_t batch = shape.shape[0], len = shape.shape[1], heads = shape.shape[2], dim = shape.shape[3];
  std::vector<std::vector<double>> outs, lses;
  for (const Tensor& out : states.outs) outs.push_back(values_of(out));
  for (const Tensor& lse : states.lses) lses.push_back(values_of(lse));
  const std::vector<double> out = values_of(merged.out), lse = values_of(merged.lse);
  CHECK_EQUAL(shape_text(merged.out.view), shape_text(shape));
  for (std::int64_t row = 0; row < batch * len * heads; ++row) {
    const std::int64_t h = row % heads, i = row / heads % len, b = row / heads / len, at = (b * heads + h) * len + i;
    double max = -INFINITY, sum = 0;
    for (const auto& l : lses) max = std::max(max, l[at] == INFINITY ? -INFINITY : l[at]);
    for (const auto& l : lses) sum += l[at] == INFINITY || max == -INFINITY ? 0 : std::exp(l[at] - max);
    const double expected_lse = sum == 0 ? -INFINITY : max + std::log(sum);
    CHECK_NEAR_IN(text + " lse", lse[at], expected_lse, 0x1p-24 * std::fabs(expected_lse) + 1e-12);
    for (std::int64_t d = 0; d < dim; ++d) {
      double expected = 0, magnitude = 0;
      for (std::size_t s = 0; s < outs.size(); ++s) {
        const double weight = sum == 0 || lses[s][at] == INFINITY ? 0 : std::exp(lses[s][at] - max) / sum;
        if (static_cast<float>(weight) == 0) continue;  // weights are float32: beyond its range a state counts for nothing
        expected += weight * outs[s][row * dim + d];
        magnitude += weight * std::fabs(outs[s][row * dim + d]);
      }
      const double tolerance = static_cast<double>(outs.size() + 2) * 0x1p-24 * magnitude + 1.01 * rounding_unit(shape.dtype) * std::fabs(expected);
      CHECK_NEAR_IN(text + " out", out[row * dim + d], expected, tolerance + smallest_unit(shape.dtype));
    }
  }
}

/// [batch, len, heads, ..] with batch 1 as packed rows.
Tensor without_batch(const Tensor& tensor) {
  Tensor packed = tensor;
  --packed.view.rank;
  for (int i = 0; i < packed.view.rank; ++i) {
    packed.view.shape[i] = tensor.view.shape[i + 1];
    packed.view.strides[i] = tensor.view.strides[i + 1];
  }
  return packed;
}

}  // namespace

TEST(merge_matches_float64) {
  for_each_kernel<MergeProblem>([](const std::string& kernel) {
    for (DType dtype : kComputeDTypeList) {
      for (int count : {1, 2, 3, 9}) {
        for (std::int64_t dim : {1, 7, 64, 100}) {
          const States states = random_states(count, 2, 5, 3, dim, dtype);
          const std::string text = kernel + " of " + std::to_string(count) + " dim " + std::to_string(dim) + " " + dtype_name(dtype);
          check_merged(text, states, merge_states(states.outs, states.lses));
        }
      }
    }
  });
}

TEST(merge_takes_packed_rows_and_strides) {
  for_each_kernel<MergeProblem>([](const std::string& kernel) {
    const States states = random_states(2, 1, 6, 4, 12, DType::kFloat32);
    States packed, strided;
    for (int s = 0; s < 2; ++s) {
      packed.outs.push_back(without_batch(states.outs[s]));
      packed.lses.push_back(without_batch(states.lses[s]));
      strided.outs.push_back(slice(transpose(random_tensor(DType::kFloat32, {2, 4, 6, 20}, s + 1), 1, 2), 3, 3, 15));
      strided.lses.push_back(transpose(random_tensor(DType::kFloat32, {2, 6, 4}, s + 3), 1, 2));
    }
    const MergedState merged = merge_states(packed.outs, packed.lses), dense = merge_states(states.outs, states.lses);
    CHECK_EQUAL(shape_text(merged.out.view) + shape_text(merged.lse.view), std::string("[6, 4, 12][4, 6]"));
    CHECK(bytes_of(merged.out) == bytes_of(dense.out) && bytes_of(merged.lse) == bytes_of(dense.lse));
    check_merged(kernel + " strided", strided, merge_states(strided.outs, strided.lses));
    strided.outs[1] = transpose(random_tensor(DType::kFloat32, {2, 6, 12, 4}, 9), 2, 3);
    check_merged(kernel + " features apart", strided, merge_states(strided.outs, strided.lses));
  });
}

TEST(merge_of_rows_that_saw_nothing) {
  for_each_kernel<MergeProblem>([](const std::string& kernel) {
    // lse of two states for four rows; the values of unseen states are NaN.
    const std::vector<double> a = {-INFINITY, INFINITY, 2, -200}, b = {-INFINITY, -INFINITY, INFINITY, 5};
    States states;
    states.outs = {make_tensor(DType::kFloat16, {1, 4, 1, 2}, {NAN, NAN, NAN, NAN, 3, 4, NAN, NAN}),
                   make_tensor(DType::kFloat16, {1, 4, 1, 2}, {NAN, NAN, NAN, NAN, NAN, NAN, 5, 6})};
    states.lses = {make_tensor(DType::kFloat32, {1, 1, 4}, a), make_tensor(DType::kFloat32, {1, 1, 4}, b)};
    const MergedState merged = merge_states(states.outs, states.lses);
    check_merged(kernel, states, merged);
    CHECK(values_of(merged.out) == std::vector<double>({0, 0, 0, 0, 3, 4, 5, 6}));
    CHECK(values_of(merged.lse) == std::vector<double>({-INFINITY, -INFINITY, 2, 5}));
  });
}

TEST(merge_passes_nan_on) {
  for_each_kernel<MergeProblem>([](const std::string&) {
    const Tensor ones = make_tensor(DType::kFloat32, {1, 2, 1, 3}, std::vector<double>(6, 1));
    const MergedState merged = merge_states({ones, ones}, {make_tensor(DType::kFloat32, {1, 1, 2}, {NAN, 1}), make_tensor(DType::kFloat32, {1, 1, 2}, {0, 1})});
    const std::vector<double> out = values_of(merged.out), lse = values_of(merged.lse);
    for (int d = 0; d < 3; ++d) CHECK(std::isnan(out[d]) && out[3 + d] == 1);
    CHECK(std::isnan(lse[0]) && std::isfinite(lse[1]));
  });
}

TEST(merge_is_associative) {
  for_each_kernel<MergeProblem>([](const std::string& kernel) {
    const States s = random_states(4, 2, 3, 2, 16, DType::kFloat32);
    const MergedState left = merge_states({s.outs[0], s.outs[1]}, {s.lses[0], s.lses[1]});
    const MergedState right = merge_states({s.outs[2], s.outs[3]}, {s.lses[2], s.lses[3]});
    const MergedState nested = merge_states({left.out, right.out}, {left.lse, right.lse}), flat = merge_states(s.outs, s.lses);
    const std::vector<double> a = values_of(nested.out), b = values_of(flat.out), c = values_of(nested.lse), d = values_of(flat.lse);
    // A float32 lse of magnitude 20 is off by 2^-20: weights by as much, relative.
    for (std::size_t i = 0; i < a.size(); ++i) CHECK_NEAR_IN(kernel + " out", a[i], b[i], 4 * 0x1p-20);
    for (std::size_t i = 0; i < c.size(); ++i) CHECK_NEAR_IN(kernel + " lse", c[i], d[i], 2 * 0x1p-20);
  });
}

TEST(merge_refuses_what_does_not_fit) {
  register_test_kernels();
  const States s = random_states(2, 2, 3, 4, 8, DType::kFloat32);
  CHECK_EQUAL(error_of([] { merge_states({}, {}); }), "states: expected at least one state, received none");
  CHECK_EQUAL(error_of([&] {
                merge_states({s.outs[0], slice(s.outs[1], 1, 0, 2)}, s.lses);
              }),
              "states[1].out: expected the shape of states[0].out [2, 3, 4, 8], received [2, 2, 4, 8]");
  CHECK_EQUAL(error_of([&] {
                merge_states(s.outs, {s.lses[0], random_tensor(DType::kFloat32, {2, 3, 4}, 1)});
              }),
              "states[1].lse: expected [batch, numQoHeads, qoLen] [2, 4, 3], received [2, 3, 4]");
  CHECK_EQUAL(error_of([&] {
                merge_states(s.outs, {s.lses[0], random_tensor(DType::kFloat16, {2, 4, 3}, 1)});
              }),
              "states[1].lse: expected dtype float32, received float16");
  CHECK_EQUAL(error_of([&] {
                merge_states({s.outs[0], random_tensor(DType::kFloat16, {2, 3, 4, 8}, 1)}, s.lses);
              }),
              "states[1].out: expected the dtype of states[0].out (float32), received float16");
}

}  // namespace attn::test
