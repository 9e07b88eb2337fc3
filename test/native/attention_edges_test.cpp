// Attention where things go wrong: NaN and infinities, bad page tables, neighbours in the batch, memory, refusals.

#include <algorithm>
#include <cmath>
#include <tuple>

#include "attention_check.h"
#include "check.h"
#include "core/registry.h"
#include "cpu/kernels/attention_kernels.h"

namespace attn::test {

using cpu::AttentionFunctions;
using cpu::AttentionPath;

TEST(attention_page_entries_out_of_range) {
  AttentionCase c;
  c.page_size = 16;
  c.kv_len = 64;
  for (const int qo_len : {1, 20}) {
    c.qo_len = qo_len;
    AttentionData data(c);
    for (const Isa& isa : usable_isas()) {
      const AttentionPath path = cpu::preferred_path(data.problem);
      std::vector<std::int32_t> table(data.problem.page_table, data.problem.page_table + 4);
      std::vector<std::vector<std::byte>> outs;
      for (const std::int32_t entry : {0, -1, 2147480000, static_cast<std::int32_t>(data.problem.num_pages)}) {
        table[2] = entry;
        data.problem.page_table = table.data();
        run_attention_case(data, isa.functions, path, 2);
        outs.push_back(data.out_memory);
      }
      for (const std::vector<std::byte>& out : outs) CHECK(out == outs[0]);
    }
  }
}

TEST(attention_nan_reaches_exactly_the_rows_that_see_it) {
  const auto poison = [](float value, int what) {
    return [=](AttentionData& data) {
      const auto set = [&](Values& values, std::int64_t row, int d) {
        if (row < values.rows) values.at(0, row, 0, d < values.dim ? d : 0) = value;
      };
      if (what == 0) set(data.q[0], 1, 2);
      if (what == 1) set(data.k[0], 37, 3);
      if (what == 2) set(data.v, 40, 4);
      if (what == 3) set(data.v, 0, 1), set(data.v, 129, 1);
    };
  };
  for (const float value : {NAN, INFINITY, -INFINITY}) {
    for (int what = 0; what < 4; ++what) {
      if (std::isinf(value) && what < 2) continue;
      for (const auto& [qo, left, right] : {std::tuple{150, -1, 0}, {150, 10, 0}, {150, 3, 7}, {4, 60, 0}, {4, -1, -1}, {1, 20, 0}}) {
        AttentionCase c;
        c.name = "poison " + std::to_string(value) + " in " + std::to_string(what) + " qo " + std::to_string(qo) + " window " + std::to_string(left);
        c.qo_len = qo;
        c.kv_len = 150;
        c.window_left = left;
        c.window_right = right;
        c.poke = poison(value, what);
        check_attention(c);
        c.num_qo_heads = 1;
        c.v_in_k = true;
        if (what < 2) check_attention(c);
      }
    }
  }
}

TEST(attention_logits_of_minus_infinity_count_as_masked) {
  AttentionCase c;
  c.name = "all logits -inf";
  c.kv_len = 3;
  c.poke = [](AttentionData& data) {
    std::fill(data.q[0].data.begin(), data.q[0].data.end(), 1.0f);
    for (std::int64_t j = 0; j < 3; ++j) data.k[0].at(0, j, 0, 0) = -INFINITY;
    data.v.at(0, 1, 0, 0) = NAN;
  };
  for (const int qo_len : {1, 20}) {
    c.qo_len = qo_len;
    check_attention(c);
  }
  c.name = "some logits -inf";
  c.kv_len = 100;
  c.poke = [](AttentionData& data) {
    std::fill(data.q[0].data.begin(), data.q[0].data.end(), 1.0f);
    for (std::int64_t j = 0; j < 70; ++j) data.k[0].at(0, j, 0, 0) = -INFINITY;
  };
  check_attention(c);
}

TEST(attention_large_logits_do_not_overflow) {
  AttentionCase c;
  c.name = "large logits";
  c.amplitude = 200;
  c.scale = 1;
  for (const int qo_len : {1, 20}) {
    c.qo_len = qo_len;
    check_attention(c);
  }
  c.name = "negative scale";
  c.scale = -0.5f;
  c.amplitude = 1;
  check_attention(c);
}

TEST(attention_is_batch_invariant) {
  for (const Isa& isa : usable_isas()) {
    for (const int qo_len : {1, 30}) {
      AttentionCase together;
      together.batch = 2;
      together.num_qo_heads = 4;
      together.qo_indptr = {0, qo_len, qo_len + 45};
      together.kv_indptr = {0, 1300, 4300};  // a longer neighbour must not move the splits
      AttentionData both(together);
      AttentionCase single;
      single.num_qo_heads = 4;
      single.qo_len = qo_len;
      single.kv_len = 1300;
      single.poke = [&](AttentionData& data) {
        const auto copy = [](Values& to, Values& from) {
          for (std::int64_t i = 0; i < to.rows; ++i) {
            for (int h = 0; h < to.heads; ++h) {
              for (int d = 0; d < to.dim; ++d) to.at(0, i, h, d) = from.at(0, i, h, d);
            }
          }
        };
        copy(data.q[0], both.q[0]);
        copy(data.k[0], both.k[0]);
        copy(data.v, both.v);
      };
      AttentionData alone(single);
      run_attention_case(both, isa.functions, cpu::preferred_path(both.problem), 3);
      run_attention_case(alone, isa.functions, cpu::preferred_path(alone.problem), 2);
      for (int i = 0; i < qo_len; ++i) {
        for (int h = 0; h < 4; ++h) {
          for (int d = 0; d < single.head_dim_vo; ++d) CHECK_EQUAL(alone.out_at(0, i, h, d), both.out_at(0, i, h, d));
          CHECK_EQUAL(alone.lse_at(0, i, h), both.lse_at(0, i, h));
        }
      }
    }
  }
}

TEST(attention_workspace_is_bounded) {
  AttentionCase c;
  c.num_qo_heads = 64;
  c.head_dim_qk = c.head_dim_vo = 8;
  c.qo_len = 1;
  c.kv_len = 64;
  AttentionData data(c);
  const AttentionFunctions functions = usable_isas().front().functions;
  const auto bytes = [&](std::int64_t kv_len) {
    data.problem.kv_len = kv_len;
    return cpu::attention_workspace(data.problem, functions, AttentionPath::kTiled, 2);
  };
  CHECK_EQUAL(bytes(std::int64_t{1} << 40), bytes(1 << 16));
  CHECK(bytes(1 << 16) < 1 << 20);
}

/// The registry's rows refuse by the facts of the call, in words that name them.
TEST(attention_rows_refuse_what_they_cannot_do) {
  if (kernels_of<AttentionProblem>(DeviceType::kCpu).empty()) cpu::register_attention_kernels();
  AttentionCase c;
  c.num_qo_heads = 8;
  c.qo_len = 64;
  const auto reason_of = [](const AttentionCase& attention_case, const std::string& variant) {
    AttentionData data(attention_case);
    for (const Kernel<AttentionProblem>& kernel : kernels_of<AttentionProblem>(DeviceType::kCpu)) {
      if (kernel.info.name == variant + "_baseline") return kernel.reject(kernel, data.problem).value_or("none");
    }
    return std::string("no such kernel");
  };
  CHECK_EQUAL(reason_of(c, "attention_rows"), "takes up to 8 query rows per kv head, received 512");
  CHECK_EQUAL(reason_of(c, "attention_tile"), "none");
  c.qo_len = 1;
  CHECK_EQUAL(reason_of(c, "attention_rows"), "none");
  c.layout = Layout::kSpread;
  CHECK_EQUAL(reason_of(c, "attention_rows"), "takes keys and values whose features are adjacent");
  c.layout = Layout::kPlain;
  c.second_part = 8;
  CHECK_EQUAL(reason_of(c, "attention_rows"), "takes keys of one part, received two");
  c.v_in_k = true;
  CHECK_EQUAL(reason_of(c, "attention_rows"), "takes values apart from the keys");
  AttentionData data(c);
  CHECK_EQUAL(choose_kernel<MlaDecodeProblem>(data.problem, DeviceType::kCpu, "mlaDecode").info.name.substr(0, 11), "mla_decode_");
}

}  // namespace attn::test
