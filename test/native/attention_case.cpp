#include "attention_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "core/convert.h"

namespace attn::test {
namespace {

void write_element(DType dtype, std::byte* memory, std::int64_t index, float value) {
  if (dtype == DType::kFloat32) {
    std::memcpy(memory + index * 4, &value, 4);
  } else if (dtype == DType::kFloat8E4M3) {
    memory[index] = std::byte{float_to_e4m3(value)};
  } else {
    const std::uint16_t bits = dtype == DType::kFloat16 ? float_to_f16(value) : float_to_bf16(value);
    std::memcpy(memory + index * 2, &bits, 2);
  }
}

float read_element(DType dtype, const std::byte* memory, std::int64_t index) {
  if (dtype == DType::kFloat32) {
    float value;
    std::memcpy(&value, memory + index * 4, 4);
    return value;
  }
  if (dtype == DType::kFloat8E4M3) return e4m3_to_float(std::to_integer<std::uint8_t>(memory[index]));
  std::uint16_t bits;
  std::memcpy(&bits, memory + index * 2, 2);
  return dtype == DType::kFloat16 ? f16_to_float(bits) : bf16_to_float(bits);
}

/// Memory of all NaN for [sequences, rows, heads, dim] in a layout, and its description.
HeadRows lay_out(std::vector<std::byte>& memory, Layout layout, DType dtype, std::int64_t sequences, std::int64_t rows, int heads, int dim) {
  HeadRows r;
  r.dtype = dtype;
  r.dim = dim;
  r.dim_stride = layout == Layout::kSpread ? 2 : 1;
  if (layout == Layout::kHeadsFirst) {
    r.row_stride = dim + 3;
    r.head_stride = rows * r.row_stride + 1;
    r.sequence_stride = heads * r.head_stride;
  } else {
    r.head_stride = dim * r.dim_stride;
    r.row_stride = heads * r.head_stride;
    r.sequence_stride = rows * r.row_stride;
  }
  memory.assign(static_cast<std::size_t>((sequences * r.sequence_stride + 8) * dtype_size(dtype)), std::byte{0xff});
  r.data = memory.data();
  return r;
}

}  // namespace

float round_to(DType dtype, float value) {
  if (dtype == DType::kFloat16) return f16_to_float(float_to_f16(value));
  if (dtype == DType::kBFloat16) return bf16_to_float(float_to_bf16(value));
  if (dtype == DType::kFloat8E4M3) return e4m3_to_float(float_to_e4m3(value));
  return value;
}

AttentionData::AttentionData(const AttentionCase& c, unsigned seed) : shape(c) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const bool packed = !c.qo_indptr.empty();
  const int parts = c.second_part ? 2 : 1, width = c.head_dim_qk + c.second_part;

  std::int64_t qo_longest = c.qo_len, kv_longest = c.kv_len;
  if (packed) qo_longest = kv_longest = 0;
  for (std::int64_t b = 0; b < c.batch; ++b) {
    qo_lens.push_back(packed ? c.qo_indptr[b + 1] - c.qo_indptr[b] : c.qo_lens.empty() ? c.qo_len : c.qo_lens[b]);
    kv_lens.push_back(packed ? c.kv_indptr[b + 1] - c.kv_indptr[b] : c.kv_lens.empty() ? c.kv_len : c.kv_lens[b]);
    if (packed) qo_longest = std::max(qo_longest, qo_lens[b]), kv_longest = std::max(kv_longest, kv_lens[b]);
  }

  const auto fill = [&](Values& values, DType dtype, std::int64_t rows, int heads, int dim, float amplitude) {
    values = {rows, heads, dim, {}};
    values.data.resize(static_cast<std::size_t>(c.batch * rows * heads * dim));
    for (float& x : values.data) x = round_to(dtype, normal(random) * amplitude);
  };
  const int part_dims[2] = {c.head_dim_qk, c.second_part};
  for (int part = 0; part < parts; ++part) {
    fill(q[part], c.q_dtype, qo_longest, c.num_qo_heads, part_dims[part], c.amplitude);
    fill(k[part], c.kv_dtype, kv_longest, part == 0 ? c.num_kv_heads : 1, part_dims[part], 1);
  }
  fill(v, c.kv_dtype, kv_longest, c.num_kv_heads, c.head_dim_vo, 1);
  if (c.poke) c.poke(*this);

  AttentionProblem& p = problem;
  p.batch = c.batch;
  p.qo_len = qo_longest;
  p.kv_len = kv_longest;
  p.num_qo_heads = c.num_qo_heads;
  p.num_kv_heads = c.num_kv_heads;
  p.group_size = c.num_qo_heads / c.num_kv_heads;
  p.head_dim_qk = width;
  p.head_dim_vo = c.head_dim_vo;
  p.num_parts = parts;
  p.v_in_k = c.v_in_k;
  p.softmax_scale = c.scale != 0 ? c.scale : 1 / std::sqrt(static_cast<float>(width));
  p.logit_softcap = c.softcap;
  p.window_left = c.window_left;
  p.window_right = c.window_right;

  // Pages in shuffled order; entries beyond a sequence's own name no page at all.
  std::int64_t num_pages = 0, table_width = 0;
  if (c.page_size) {
    table_width = (kv_longest + c.page_size - 1) / c.page_size + 2;
    num_pages = c.batch * table_width + 3;
    std::vector<std::int32_t> order(num_pages);
    for (std::int64_t i = 0; i < num_pages; ++i) order[i] = static_cast<std::int32_t>(i);
    std::shuffle(order.begin(), order.end(), random);
    page_table_.assign(c.batch * table_width, 2147480000);
    for (std::int64_t b = 0; b < c.batch; ++b) {
      for (std::int64_t i = 0; i * c.page_size < kv_lens[b]; ++i) page_table_[b * table_width + i] = order[b * table_width + i];
    }
    p.page_table = page_table_.data();
    p.page_table_stride = table_width;
    p.page_size = c.page_size;
    p.num_pages = num_pages;
  }
  if (!c.kv_lens.empty() || c.page_size) {
    kv_lens_memory_.assign(kv_lens.begin(), kv_lens.end());
    p.kv_lens = kv_lens_memory_.data();
  }
  if (!c.qo_lens.empty()) p.qo_lens = shape.qo_lens.data();
  if (packed) p.qo_indptr = shape.qo_indptr.data(), p.kv_indptr = shape.kv_indptr.data();

  const auto place = [&](std::vector<std::byte>& memory, Values& values, DType dtype, bool keys, const std::vector<std::int64_t>& lens) {
    const bool paged = keys && c.page_size;
    const std::vector<std::int32_t>& indptr = keys ? shape.kv_indptr : shape.qo_indptr;
    const std::int64_t sequences = paged ? num_pages : packed ? 1 : c.batch;
    HeadRows r = lay_out(memory, c.layout, dtype, sequences, paged ? c.page_size : packed ? indptr.back() : values.rows, values.heads, values.dim);
    for (std::int64_t b = 0; b < c.batch; ++b) {
      for (std::int64_t j = 0; j < lens[b]; ++j) {
        std::int64_t start = packed ? (indptr[b] + j) * r.row_stride : b * r.sequence_stride + j * r.row_stride;
        if (paged) start = page_table_[b * table_width + j / c.page_size] * r.sequence_stride + j % c.page_size * r.row_stride;
        for (int h = 0; h < values.heads; ++h) {
          for (int d = 0; d < values.dim; ++d) write_element(dtype, memory.data(), start + h * r.head_stride + d * r.dim_stride, values.at(b, j, h, d));
        }
      }
    }
    return r;
  };
  for (int part = 0; part < parts; ++part) {
    p.q[part] = place(memory_[part], q[part], c.q_dtype, false, qo_lens);
    p.k[part] = place(memory_[2 + part], k[part], c.kv_dtype, true, kv_lens);
    if (part == 1) p.k[1].head_stride = 0;
  }
  if (!c.v_in_k) p.v = place(memory_[4], v, c.kv_dtype, true, kv_lens);

  p.out = lay_out(out_memory, c.layout, c.out_dtype, packed ? 1 : c.batch, packed ? c.qo_indptr.back() : qo_longest, c.num_qo_heads, c.head_dim_vo);
  p.lse_head_stride = packed ? c.qo_indptr.back() : qo_longest;
  p.lse_sequence_stride = packed ? 0 : c.num_qo_heads * p.lse_head_stride;
  reset_outputs();

  for (std::int64_t i = 0; i < c.batch * c.num_qo_heads; ++i) slopes.push_back(0.02f * static_cast<float>(i % 7));
  for (int h = 0; h < c.num_qo_heads; ++h) sinks.push_back(normal(random) * c.sink_amplitude);
  if (c.alibi) p.alibi_slopes = slopes.data(), p.alibi_sequence_stride = c.num_qo_heads;
  if (c.sinks) p.sinks = sinks.data();
}

void AttentionData::reset_outputs() {
  std::fill(out_memory.begin(), out_memory.end(), std::byte{0xff});
  const bool packed = problem.qo_indptr != nullptr;
  lse.assign(static_cast<std::size_t>((packed ? 1 : shape.batch) * shape.num_qo_heads * problem.lse_head_stride), NAN);
  problem.lse = lse.data();
}

std::int64_t AttentionData::rows_of(std::int64_t b) const { return shape.qo_indptr.empty() ? shape.qo_len : qo_lens[b]; }

float AttentionData::out_at(std::int64_t b, std::int64_t row, int head, int d) const {
  const HeadRows& r = problem.out;
  const std::int64_t start = problem.qo_indptr ? (problem.qo_indptr[b] + row) * r.row_stride : b * r.sequence_stride + row * r.row_stride;
  return read_element(r.dtype, out_memory.data(), start + head * r.head_stride + d * r.dim_stride);
}

float AttentionData::lse_at(std::int64_t b, std::int64_t row, int head) const {
  return lse[b * problem.lse_sequence_stride + head * problem.lse_head_stride + (problem.qo_indptr ? problem.qo_indptr[b] : 0) + row];
}

bool AttentionData::gaps_intact() const {
  const HeadRows& r = problem.out;
  std::vector<bool> written(out_memory.size());
  const std::int64_t size = dtype_size(r.dtype);
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t i = 0; i < rows_of(b); ++i) {
      const std::int64_t start = problem.qo_indptr ? (problem.qo_indptr[b] + i) * r.row_stride : b * r.sequence_stride + i * r.row_stride;
      for (int h = 0; h < shape.num_qo_heads; ++h) {
        for (int d = 0; d < shape.head_dim_vo; ++d) {
          const std::int64_t index = start + h * r.head_stride + d * r.dim_stride;
          for (std::int64_t byte = 0; byte < size; ++byte) written[index * size + byte] = true;
        }
      }
    }
  }
  for (std::size_t i = 0; i < written.size(); ++i) {
    if (!written[i] && out_memory[i] != std::byte{0xff}) return false;
  }
  return true;
}

}  // namespace attn::test
