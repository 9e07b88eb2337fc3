// Every attention kernel of every usable instruction set against float64 loops, with one and with three threads.

#include <algorithm>
#include <cstring>

#include "attention_reference.h"
#include "check.h"
#include "cpu/kernels/attention_schedule.h"
#include "threads.h"

namespace attn::cpu::wide {
void attention_tile(const AttentionTile& tile);
std::size_t attention_tile_scratch(const AttentionProblem& problem, int num_rows);
void attention_rows(const AttentionTile& tile);
std::size_t attention_rows_scratch(const AttentionProblem& problem, int num_rows);
void write_attention_row(const float* values, float factor, int dim, DType dtype, std::byte* dst, std::int64_t dim_stride);
}  // namespace attn::cpu::wide

namespace attn::test {
namespace {

using cpu::AttentionFunctions;
using cpu::AttentionPath;

struct Isa {
  const char* name;
  AttentionFunctions functions;
};

std::vector<Isa> usable_isas() {
  namespace wide = cpu::wide;
  std::vector<Isa> all{
      {"wide", {wide::attention_tile, wide::attention_tile_scratch, wide::attention_rows, wide::attention_rows_scratch, wide::write_attention_row}}};
#define ATTN_ADD(isa) \
  if (!cpu::isa_missing(#isa)) all.push_back({#isa, cpu::isa::kAttentionFunctions});
  ATTN_FOR_EACH_ISA(ATTN_ADD)
#undef ATTN_ADD
  return all;
}

void run(AttentionData& data, const AttentionFunctions& functions, AttentionPath path, int threads) {
  data.reset_outputs();
  ThreadExecution execution(threads, cpu::attention_workspace(data.problem, functions, path, threads));
  cpu::run_attention(data.problem, functions, path, execution);
  CHECK(execution.guard_intact());
}

struct Expected {
  std::vector<RowResult<double>> rows;
  double out_tolerance = 0, lse_tolerance = 0;  // absolute
};

/// The truth, and twice the worst error of plain float32 loops as tolerance.
Expected expect(AttentionData& data) {
  Expected expected;
  double out_error = 0, lse_error = 0;
  for (std::int64_t b = 0; b < data.shape.batch; ++b) {
    for (std::int64_t i = 0; i < data.rows_of(b); ++i) {
      for (int h = 0; h < data.shape.num_qo_heads; ++h) {
        const RowResult<double> exact = reference_row<double>(data, b, i, h);
        const RowResult<float> plain = reference_row<float>(data, b, i, h);
        for (std::size_t d = 0; d < exact.out.size(); ++d) {
          if (std::isfinite(exact.out[d])) out_error = std::max(out_error, std::fabs(plain.out[d] - exact.out[d]));
        }
        if (std::isfinite(exact.lse)) lse_error = std::max(lse_error, std::fabs(plain.lse - exact.lse));
        expected.rows.push_back(exact);
      }
    }
  }
  // A rounding of the result on top: plain loops over few keys can be exact by luck.
  expected.out_tolerance = 2 * out_error + 0x1p-22;
  expected.lse_tolerance = 2 * lse_error + 0x1p-21;
  return expected;
}

double rounding_of(DType dtype) { return dtype == DType::kFloat32 ? 0x1p-23 : dtype == DType::kFloat16 ? 0x1p-11 : 0x1p-8; }

void compare(AttentionData& data, const Expected& expected, const std::string& text) {
  const AttentionCase& c = data.shape;
  auto row = expected.rows.begin();
  for (std::int64_t b = 0; b < c.batch; ++b) {
    for (std::int64_t i = 0; i < data.rows_of(b); ++i) {
      for (int h = 0; h < c.num_qo_heads; ++h, ++row) {
        const std::string where = text + " [" + std::to_string(b) + ", " + std::to_string(i) + ", " + std::to_string(h);
        for (int d = 0; d < c.head_dim_vo; ++d) {
          const double tolerance = expected.out_tolerance + std::fabs(row->out[d]) * rounding_of(c.out_dtype) + (c.out_dtype == DType::kFloat16 ? 0x1p-25 : 0);
          const float actual = data.out_at(b, i, h, d);
          if (is_near(actual, row->out[d], tolerance)) {
            count_check();
          } else {
            CHECK_NEAR_IN(where + ", " + std::to_string(d) + "]", actual, row->out[d], tolerance);
          }
        }
        CHECK_NEAR_IN(where + "] lse", data.lse_at(b, i, h), row->lse, expected.lse_tolerance);
      }
    }
  }
  CHECK(data.gaps_intact());
}

void check_case(const AttentionCase& c) {
  AttentionData data(c);
  const Expected expected = expect(data);
  for (const Isa& isa : usable_isas()) {
    for (const AttentionPath path : {AttentionPath::kTiled, AttentionPath::kDirect}) {
      if (path == AttentionPath::kDirect && cpu::preferred_path(data.problem) != path) continue;
      const std::string text = c.name + " " + isa.name + (path == AttentionPath::kDirect ? " rows" : " tile");
      run(data, isa.functions, path, 1);
      compare(data, expected, text);
      const std::vector<std::byte> out = data.out_memory;
      const std::vector<float> lse = data.lse;
      run(data, isa.functions, path, 3);
      CHECK_EQUAL(out == data.out_memory, true);
      CHECK_EQUAL(std::memcmp(lse.data(), data.lse.data(), lse.size() * sizeof(float)), 0);
    }
  }
}

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
        check_case(c);
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
        check_case(c);
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
          check_case(c);
        }
      }
    }
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
        check_case(c);
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
      check_case(c);
    }
  }
  AttentionCase c;  // rows that see nothing but a sink
  c.name = "sinks alone";
  c.sinks = true;
  c.qo_len = 9;
  c.kv_len = 4;
  c.window_right = 0;
  check_case(c);
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
        check_case(c);
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
  check_case(padded);

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
      check_case(packed);
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
            check_case(c);
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
      check_case(c);
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
        check_case(c);
        c.num_qo_heads = 1;
        c.v_in_k = true;
        if (what < 2) check_case(c);
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
    check_case(c);
  }
  c.name = "some logits -inf";
  c.kv_len = 100;
  c.poke = [](AttentionData& data) {
    std::fill(data.q[0].data.begin(), data.q[0].data.end(), 1.0f);
    for (std::int64_t j = 0; j < 70; ++j) data.k[0].at(0, j, 0, 0) = -INFINITY;
  };
  check_case(c);
}

TEST(attention_large_logits_do_not_overflow) {
  AttentionCase c;
  c.name = "large logits";
  c.amplitude = 200;
  c.scale = 1;
  for (const int qo_len : {1, 20}) {
    c.qo_len = qo_len;
    check_case(c);
  }
  c.name = "negative scale";
  c.scale = -0.5f;
  c.amplitude = 1;
  check_case(c);
}

/// The bits of one sequence do not depend on what else is in the batch.
TEST(attention_is_batch_invariant) {
  for (const Isa& isa : usable_isas()) {
    for (const int qo_len : {1, 30}) {
      AttentionCase together;
      together.batch = 2;
      together.num_qo_heads = 4;
      together.qo_indptr = {0, qo_len, qo_len + 45};
      together.kv_indptr = {0, 1300, 1345};
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
      run(both, isa.functions, cpu::preferred_path(both.problem), 3);
      run(alone, isa.functions, cpu::preferred_path(alone.problem), 2);
      for (int i = 0; i < qo_len; ++i) {
        for (int h = 0; h < 4; ++h) {
          for (int d = 0; d < single.head_dim_vo; ++d) CHECK_EQUAL(alone.out_at(0, i, h, d), both.out_at(0, i, h, d));
          CHECK_EQUAL(alone.lse_at(0, i, h), both.lse_at(0, i, h));
        }
      }
    }
  }
}

/// No workspace grows with kv_len beyond the states of a bounded number of splits, nor holds repeated keys or values.
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

}  // namespace attn::test
