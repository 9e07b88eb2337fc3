// Decoding with several kv heads per task, and the cases in which heads stay apart.

#include "attention_check.h"
#include "check.h"

namespace attn::test {
namespace {

/// Long enough for eight kv heads to be taken together.
AttentionCase heads_case(const std::string& name, int num_kv_heads, int group) {
  AttentionCase c;
  c.name = name;
  c.qo_len = 1;
  c.kv_len = 4170;
  c.num_kv_heads = num_kv_heads;
  c.num_qo_heads = num_kv_heads * group;
  c.head_dim_qk = 24;
  c.head_dim_vo = 20;
  c.window_right = 0;
  return c;
}

/// One head per task leaves each head 64 / num_kv_heads splits; several heads per task are split more.
bool heads_together(const AttentionCase& c) {
  AttentionData data(c);
  return cpu::planned_splits(data.problem, cpu::AttentionPath::kDirect) > 64 / c.num_kv_heads;
}

}  // namespace

TEST(attention_heads_together) {
  for (const int group : {1, 3, 4, 8}) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
      AttentionCase c = heads_case("8 kv heads of " + std::to_string(group) + " " + dtype_name(dtype), 8, group);
      c.kv_dtype = dtype;
      CHECK(heads_together(c));
      check_attention(c);
    }
  }
}

TEST(attention_heads_in_groups) {
  for (const auto& [heads, dim, kv] :
       {std::tuple{7, 256, 2100}, {10, 192, 2100}, {32, 128, 1000}, {5, 7, 4000}, {8, 64, 513}}) {  // 4 + 3, 5 + 5, 4 · 8, all, few keys
    AttentionCase c = heads_case(std::to_string(heads) + " kv heads of " + std::to_string(dim), heads, 1);
    c.kv_len = kv;
    c.head_dim_qk = c.head_dim_vo = dim;
    CHECK(heads_together(c));
    check_attention(c);
  }
}

TEST(attention_heads_stay_apart) {
  AttentionCase c = heads_case("heads first", 8, 2);
  c.layout = Layout::kHeadsFirst;
  CHECK(!heads_together(c));
  check_attention(c);
  c = heads_case("few keys", 8, 2);
  c.kv_len = 448;
  CHECK(!heads_together(c));
  check_attention(c);
}

TEST(attention_heads_together_pages_and_options) {
  for (const int page_size : {1, 16, 48, 128}) {
    AttentionCase c = heads_case("8 kv heads, pages of " + std::to_string(page_size), 8, 2);
    c.page_size = page_size;
    c.batch = 3;
    c.kv_lens = {4170, 0, 129};
    c.kv_dtype = DType::kBFloat16;
    CHECK(heads_together(c));
    check_attention(c);
  }
  for (const std::int64_t left : {-1, 4003}) {
    for (const std::int64_t right : {0, 70}) {
      AttentionCase c = heads_case("8 kv heads, 4 queries, window " + std::to_string(left) + "," + std::to_string(right), 8, 2);
      c.qo_len = 4;
      c.window_left = left;
      c.window_right = right;
      c.sinks = c.alibi = left > 0;
      c.softcap = right > 0 ? 3.0f : 0.0f;
      CHECK(heads_together(c));
      check_attention(c);
    }
  }
}

/// A sequence whose heads are taken together gives the same bits beside a short one, whose heads are not.
TEST(attention_heads_together_are_batch_invariant) {
  std::vector<std::tuple<Isa, DType, int>> all;
  for (const Isa& isa : usable_isas()) all.push_back({isa, DType::kFloat32, 2});
  for (const Isa& isa : bf16_isas()) all.push_back({isa, DType::kBFloat16, 8});
  for (const auto& [isa, dtype, group] : all) {
    for (const std::int32_t own : {4170, 400}) {
      AttentionCase c = heads_case("8 kv heads", 8, group);
      c.q_dtype = c.kv_dtype = dtype;
      c.batch = 2;
      c.kv_lens = {own, 4570 - own};
      AttentionData data(c);
      run_attention_case(data, isa.functions, cpu::AttentionPath::kDirect, 3);
      const auto outputs = [&] {
        std::vector<float> all;
        for (int h = 0; h < c.num_qo_heads; ++h) {
          for (int d = 0; d < c.head_dim_vo; ++d) all.push_back(data.out_at(0, 0, h, d));
          all.push_back(data.lse_at(0, 0, h));
        }
        return all;
      };
      const std::vector<float> beside = outputs();
      data.problem.batch = 1;
      run_attention_case(data, isa.functions, cpu::AttentionPath::kDirect, 2);
      CHECK(beside == outputs());
      if (own == 400) {  // the work depends on the keys that there are, not on the room for them
        data.problem.kv_len = 400;
        run_attention_case(data, isa.functions, cpu::AttentionPath::kDirect, 1);
        CHECK(beside == outputs());
      }
    }
  }
}

}  // namespace attn::test
