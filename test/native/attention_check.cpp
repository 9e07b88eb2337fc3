#include "attention_check.h"

#include <algorithm>
#include <cstring>

#include "attention_reference.h"
#include "check.h"
#include "threads.h"

namespace attn::cpu::wide {
void attention_tile(const AttentionTile& tile);
std::size_t attention_tile_scratch(const AttentionProblem& problem, int num_rows);
void attention_rows(const AttentionTile& tile);
std::size_t attention_rows_scratch(const AttentionProblem& problem, int num_rows, int num_kv_heads);
void write_attention_row(const float* values, float factor, int dim, DType dtype, std::byte* dst, std::int64_t dim_stride);
}  // namespace attn::cpu::wide

namespace attn::cpu::widebf16 {
void attention_bf16(const AttentionTile& tile);
std::size_t attention_bf16_scratch(const AttentionProblem& problem, int num_rows);
void attention_rows_bf16(const AttentionTile& tile);
std::size_t attention_rows_bf16_scratch(const AttentionProblem& problem, int num_rows, int num_kv_heads);
}  // namespace attn::cpu::widebf16

namespace attn::test {

using cpu::AttentionFunctions;
using cpu::AttentionPath;

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

std::vector<Isa> bf16_isas() {
  const AttentionFunctions rest = usable_isas().back().functions;
  std::vector<Isa> all;
#define ATTN_TAKE(isa)                                                                                                                                     \
  all.push_back({#isa,                                                                                                                                     \
                 {cpu::isa::attention_bf16, cpu::isa::attention_bf16_scratch, rest.rows, rest.rows_scratch, rest.write_row, cpu::isa::attention_rows_bf16, \
                  cpu::isa::attention_rows_bf16_scratch}});
#define ATTN_ADD(isa) \
  if (cpu::processor_has(#isa)) ATTN_TAKE(isa)
  ATTN_TAKE(widebf16)
  ATTN_FOR_EACH_BF16_ISA(ATTN_ADD)
#undef ATTN_ADD
#undef ATTN_TAKE
  return all;
}

void run_attention_case(AttentionData& data, const AttentionFunctions& functions, AttentionPath path, int threads) {
  data.reset_outputs();
  ThreadExecution execution(threads, cpu::attention_workspace(data.problem, functions, path, threads));
  cpu::run_attention(data.problem, functions, path, execution);
  CHECK(execution.guard_intact());
}

namespace {

struct Expected {
  std::vector<RowResult<double>> rows;
  double out_tolerance = 0, lse_tolerance = 0;  // absolute
};

/// The truth, and twice the worst error of plain float32 loops as tolerance, whose probabilities are rounded to `weights`.
Expected expect(AttentionData& data, DType weights = DType::kFloat32) {
  Expected expected;
  double out_error = 0, lse_error = 0;
  for (std::int64_t b = 0; b < data.shape.batch; ++b) {
    for (std::int64_t i = 0; i < data.rows_of(b); ++i) {
      for (int h = 0; h < data.shape.num_qo_heads; ++h) {
        const RowResult<double> exact = reference_row<double>(data, b, i, h);
        const RowResult<float> plain = reference_row<float>(data, b, i, h, weights);
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
        CHECK_NEAR_IN(where + "] lse", data.lse_at(b, i, h), row->lse, expected.lse_tolerance + std::fabs(row->lse) * 0x1p-23);
      }
    }
  }
  CHECK(data.gaps_intact());
}

/// One thread and three.
void check_path(AttentionData& data, const Expected& expected, const AttentionFunctions& functions, AttentionPath path, const std::string& text) {
  run_attention_case(data, functions, path, 1);
  compare(data, expected, text);
  const std::vector<std::byte> out = data.out_memory;
  const std::vector<float> lse = data.lse;
  run_attention_case(data, functions, path, 3);
  CHECK_EQUAL(out == data.out_memory, true);
  CHECK_EQUAL(std::memcmp(lse.data(), data.lse.data(), lse.size() * sizeof(float)), 0);
}

}  // namespace

void check_attention(const AttentionCase& c) {
  AttentionData data(c);
  const Expected expected = expect(data);
  for (const Isa& isa : usable_isas()) {
    for (const AttentionPath path : {AttentionPath::kTiled, AttentionPath::kDirect}) {
      if (path == AttentionPath::kDirect && cpu::preferred_path(data.problem) != path) continue;
      check_path(data, expected, isa.functions, path, c.name + " " + isa.name + (path == AttentionPath::kDirect ? " rows" : " tile"));
    }
  }
  AttentionCase narrow = c;
  for (DType* dtype : {&narrow.q_dtype, &narrow.kv_dtype}) {
    if (*dtype != DType::kFloat8E4M3) *dtype = DType::kBFloat16;
  }
  AttentionData narrow_data(narrow);
  const Expected narrow_expected = expect(narrow_data, DType::kBFloat16);
  for (const Isa& isa : bf16_isas()) check_path(narrow_data, narrow_expected, isa.functions, AttentionPath::kTiled, c.name + " " + isa.name + " bfloat16");
}

}  // namespace attn::test
