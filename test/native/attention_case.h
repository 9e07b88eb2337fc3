#pragma once
// One attention call for the tests: logical values, the memory they lie in, and the problem that describes it.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/attention.h"

namespace attn::test {

enum class Layout { kPlain, kHeadsFirst, kSpread };  // [row, head, dim] · [head, row, padded dim] · features two apart

/// What a case varies; the rest follows.
struct AttentionCase {
  std::string name;
  std::int64_t batch = 1, qo_len = 5, kv_len = 70;
  int num_qo_heads = 2, num_kv_heads = 1;
  int head_dim_qk = 32, head_dim_vo = 32;
  int second_part = 0;  // features of q[1], k[1]; k[1] has one head for all. head_dim_qk is then the first part's
  bool v_in_k = false;
  DType q_dtype = DType::kFloat32, kv_dtype = DType::kFloat32, out_dtype = DType::kFloat32;
  Layout layout = Layout::kPlain;
  int page_size = 0;
  std::vector<std::int32_t> qo_lens, kv_lens;      // valid rows of a padded batch
  std::vector<std::int32_t> qo_indptr, kv_indptr;  // packed batches
  std::int64_t window_left = -1, window_right = -1;
  float softcap = 0, scale = 0;  // scale 0: 1 / sqrt(width)
  bool alibi = false, sinks = false;
  float sink_amplitude = 1;
  float amplitude = 1;                              // of queries
  std::function<void(struct AttentionData&)> poke;  // changes logical values before they are stored
};

/// [sequence][row][head][feature], already rounded to their dtype.
struct Values {
  std::int64_t rows = 0;
  int heads = 0, dim = 0;
  std::vector<float> data;
  float& at(std::int64_t sequence, std::int64_t row, int head, int d) { return data[((sequence * rows + row) * heads + head) * dim + d]; }
};

struct AttentionData {
  explicit AttentionData(const AttentionCase& c, unsigned seed = 1);
  AttentionData(const AttentionData&) = delete;

  AttentionCase shape;
  MlaDecodeProblem problem;
  Values q[2], k[2], v;                        // v is unused with v_in_k
  std::vector<std::int64_t> qo_lens, kv_lens;  // of each sequence
  std::vector<float> slopes, sinks;

  /// Output and lse as they are after a run; `stale` marks bytes between rows that must stay untouched.
  std::vector<std::byte> out_memory;
  std::vector<float> lse;
  void reset_outputs();
  float out_at(std::int64_t sequence, std::int64_t row, int head, int d) const;
  float lse_at(std::int64_t sequence, std::int64_t row, int head) const;
  std::int64_t rows_of(std::int64_t sequence) const;  // with padding
  /// Whether no byte outside the output's elements changed.
  bool gaps_intact() const;

 private:
  std::vector<std::byte> memory_[5];
  std::vector<std::int32_t> page_table_, kv_lens_memory_;
};

float round_to(DType dtype, float value);

}  // namespace attn::test
