// Attention over shapes, dtypes, layouts and options.

#include "attention_check.h"
#include "check.h"

namespace attn::test {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

}  // namespace

TEST(attention_head_dims) {
  for (const int qk : {1, 3, 7, 16, 33, 40, 64, 80, 96, 128, 192, 256, 576}) {
    for (const int vo : {1, 5, 24, 64, 72, 128, 512, 576}) {
      if (qk > 64 && vo < 64) continue;
      for (const int qo_len : {1, 7, 19}) {
        AttentionCase c;
        c.name = "dims " + std::to_string(qk) + "/" + std::to_string(vo) + " qo " + std::to_string(qo_len);
        c.head_dim_qk = qk;
        c.head_dim_vo = vo;
        c.qo_len = qo_len;
        c.window_right = 0;
        check_attention(c);
      }
    }
  }
}

TEST(attention_groups_and_lengths) {
  for (const int group : {1, 2, 3, 4, 5, 7, 8, 16}) {
    for (const auto& [qo, kv] :
         {std::pair{1, 1}, {1, 63}, {1, 64}, {1, 65}, {1, 1500}, {3, 200}, {4, 4}, {65, 129}, {130, 130}, {1, 0}, {9, 0}, {9, 4}, {70, 65}}) {
      for (const int causal : {-1, 0}) {
        AttentionCase c;
        c.name = "group " + std::to_string(group) + " qo " + std::to_string(qo) + " kv " + std::to_string(kv) + (causal ? "" : " causal");
        c.num_kv_heads = 2;
        c.num_qo_heads = 2 * group;
        c.qo_len = qo;
        c.kv_len = kv;
        c.window_right = causal;
        c.head_dim_qk = 24;
        c.head_dim_vo = 20;
        check_attention(c);
      }
    }
  }
}

TEST(attention_dtypes_and_layouts) {
  for (const DType q : kDTypes) {
    for (const DType kv : kDTypes) {
      for (const Layout layout : {Layout::kPlain, Layout::kHeadsFirst, Layout::kSpread}) {
        for (const int qo_len : {1, 33}) {
          AttentionCase c;
          c.name = std::string("dtypes ") + dtype_name(q) + "/" + dtype_name(kv) + " layout " + std::to_string(static_cast<int>(layout));
          c.q_dtype = q;
          c.kv_dtype = kv;
          c.out_dtype = q;
          c.layout = layout;
          c.batch = 2;
          c.qo_len = qo_len;
          c.kv_len = 150;
          c.num_qo_heads = 4;
          c.num_kv_heads = 2;
          c.head_dim_qk = 40;
          c.head_dim_vo = 50;
          c.window_right = 0;
          check_attention(c);
        }
      }
    }
  }
}

TEST(attention_float8) {
  constexpr DType kFloat8 = DType::kFloat8E4M3;
  for (const DType q : {DType::kFloat32, DType::kBFloat16, kFloat8}) {
    for (const Layout layout : {Layout::kPlain, Layout::kHeadsFirst, Layout::kSpread}) {
      for (const int qo_len : {1, 33}) {
        AttentionCase c;
        c.name = std::string("float8 keys, queries ") + dtype_name(q) + " layout " + std::to_string(static_cast<int>(layout)) + " qo " + std::to_string(qo_len);
        c.q_dtype = q;
        c.kv_dtype = kFloat8;
        c.out_dtype = q == kFloat8 ? DType::kBFloat16 : q;
        c.layout = layout;
        c.batch = 2;
        c.qo_len = qo_len;
        c.kv_len = 270;  // more than a block
        c.page_size = layout == Layout::kPlain ? 16 : 0;
        c.num_qo_heads = 4;
        c.num_kv_heads = 2;
        c.head_dim_qk = 40;
        c.head_dim_vo = 64;
        c.window_right = 0;
        check_attention(c);
      }
    }
  }
}

TEST(attention_float8_latents) {
  for (const int qo_len : {1, 5}) {
    AttentionCase c;
    c.name = "float8 latents, qo " + std::to_string(qo_len);
    c.kv_dtype = DType::kFloat8E4M3;
    c.qo_len = qo_len;
    c.kv_len = 300;
    c.page_size = 64;
    c.num_qo_heads = 16;
    c.head_dim_qk = c.head_dim_vo = 96;
    c.second_part = 24;
    c.v_in_k = true;
    c.window_right = 0;
    check_attention(c);
  }
}

TEST(attention_windows) {
  for (const std::int64_t left : {-1, 0, 1, 5, 63, 64, 100}) {
    for (const std::int64_t right : {-1, 0, 1, 30, 128}) {
      for (const auto& [qo, kv] : {std::pair{2, 300}, {100, 300}, {100, 40}, {300, 300}}) {
        AttentionCase c;
        c.name = "window " + std::to_string(left) + "," + std::to_string(right) + " qo " + std::to_string(qo) + " kv " + std::to_string(kv);
        c.qo_len = qo;
        c.kv_len = kv;
        c.window_left = left;
        c.window_right = right;
        c.head_dim_qk = 16;
        c.head_dim_vo = 16;
        check_attention(c);
      }
    }
  }
}

TEST(attention_softcap_alibi_sinks) {
  for (int options = 1; options < 8; ++options) {
    for (const int qo_len : {1, 2, 90}) {
      AttentionCase c;
      c.name = "options " + std::to_string(options) + " qo " + std::to_string(qo_len);
      c.softcap = options & 1 ? 3.0f : 0.0f;
      c.alibi = options & 2;
      c.sinks = options & 4;
      c.batch = 2;
      c.qo_len = qo_len;
      c.kv_len = 1100;
      c.num_qo_heads = 4;
      c.num_kv_heads = 2;
      c.window_right = qo_len == 2 ? -1 : 0;
      c.amplitude = 4;
      check_attention(c);
    }
  }
  for (const float size : {50.0f, 2000.0f}) {  // sinks far above and below all logits
    AttentionCase c;
    c.name = "sinks of " + std::to_string(size);
    c.sinks = true;
    c.sink_amplitude = size;
    c.num_qo_heads = 4;
    check_attention(c);
  }
  AttentionCase c;  // rows that see nothing but a sink
  c.name = "sinks alone";
  c.sinks = true;
  c.qo_len = 9;
  c.kv_len = 4;
  c.window_right = 0;
  check_attention(c);
}

TEST(attention_pages) {
  for (const int page_size : {1, 3, 16, 64, 256}) {
    for (const DType dtype : kDTypes) {
      for (const int qo_len : {1, 4, 40}) {
        AttentionCase c;
        c.name = "pages of " + std::to_string(page_size) + " " + dtype_name(dtype) + " qo " + std::to_string(qo_len);
        c.page_size = page_size;
        c.kv_dtype = dtype;
        c.batch = 3;
        c.qo_len = qo_len;
        c.kv_len = 700;
        c.kv_lens = {700, 0, 129};
        c.num_qo_heads = 4;
        c.num_kv_heads = 2;
        c.window_right = 0;
        check_attention(c);
      }
    }
  }
}

TEST(attention_padded_and_packed_batches) {
  AttentionCase padded;
  padded.name = "padded";
  padded.batch = 4;
  padded.qo_len = 20;
  padded.kv_len = 90;
  padded.qo_lens = {20, 1, 0, 7};
  padded.kv_lens = {90, 64, 17, 3};
  padded.window_right = 0;
  padded.sinks = true;
  check_attention(padded);

  AttentionCase packed;
  packed.name = "packed";
  packed.batch = 5;
  packed.num_qo_heads = 6;
  packed.num_kv_heads = 2;
  packed.qo_indptr = {0, 1, 1, 40, 43, 44};
  packed.kv_indptr = {0, 600, 650, 700, 703, 703};
  packed.alibi = true;
  for (const Layout layout : {Layout::kPlain, Layout::kHeadsFirst, Layout::kSpread}) {
    packed.layout = layout;
    for (const std::int64_t right : {-1, 0}) {
      packed.window_right = right;
      check_attention(packed);
    }
  }
}

TEST(attention_two_parts_and_values_in_keys) {
  for (const bool v_in_k : {false, true}) {
    for (const int latent : {13, 64, 512}) {
      for (const int page_size : {0, 64}) {
        for (const int qo_len : {1, 3}) {
          for (const DType dtype : kDTypes) {
            AttentionCase c;
            c.name = std::string(v_in_k ? "latent " : "two parts ") + std::to_string(latent) + " pages " + std::to_string(page_size) + " " + dtype_name(dtype);
            c.head_dim_qk = latent;
            c.second_part = latent == 13 ? 5 : 64;
            c.v_in_k = v_in_k;
            c.head_dim_vo = v_in_k ? latent : latent / 2 + 3;
            c.num_qo_heads = 16;
            c.num_kv_heads = v_in_k ? 1 : 4;
            c.qo_len = qo_len;
            c.kv_len = 131;
            c.page_size = page_size;
            c.kv_dtype = dtype;
            c.window_right = 0;
            check_attention(c);
          }
        }
      }
    }
  }
}

TEST(attention_splits_long_sequences) {
  for (const int qo_len : {1, 3, 50}) {
    for (const std::int64_t left : {-1, 2000}) {
      AttentionCase c;
      c.name = "long qo " + std::to_string(qo_len) + " left " + std::to_string(left);
      c.qo_len = qo_len;
      c.kv_len = 5003;
      c.window_left = left;
      c.window_right = 0;
      c.sinks = left > 0;
      AttentionData data(c);
      CHECK(cpu::planned_splits(data.problem, cpu::preferred_path(data.problem)) > 1);
      check_attention(c);
    }
  }
}

}  // namespace attn::test
