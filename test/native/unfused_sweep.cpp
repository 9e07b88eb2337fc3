// `attn_tests --sweep`: the fused attention kernels beside the unfused composition of the same micro-kernels, shape by shape
// and round by round, as JSON on standard output:
//   S = Q Kᵀ by the tiles of `linear`;  P = softmax of whole rows of S in memory;  O = P V by gemm_tile
// float32, 2 threads of the device's own pool. Prefill: a task is a query head, its values packed into panels once per kv
// head; decode: keys are read as they lie, in blocks over all threads. Under a causal mask whole squares are multiplied.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/kernels/attention_schedule.h"
#include "cpu/kernels/linear_tile.h"
#include "cpu/queue.h"
#include "simd_functions.h"

namespace attn::test {
int run_sweep();

namespace {

using cpu::AttentionFunctions;
using cpu::LinearTable;

constexpr int kThreads = 2;
constexpr std::int64_t kKeyBlock = 512;

struct Code {
  AttentionFunctions fused;
  const LinearTable* linear;
  SimdFunctions simd;
};

Code code_in_use() {
  const std::string isa = cpu::isa_in_use();
  Code code{};
  for (const SimdFunctions& simd : usable_simd()) {
    if (simd.isa == isa) code.simd = simd;
  }
#define ATTN_TAKE(name)                          \
  if (isa == #name) {                            \
    code.fused = cpu::name::kAttentionFunctions; \
    code.linear = &cpu::name::kLinearTable;      \
  }
  ATTN_FOR_EACH_ISA(ATTN_TAKE)
#undef ATTN_TAKE
  return code;
}

struct Shape {
  std::int64_t qo_len, kv_len;
  int heads, kv_heads, dim;
  bool causal;
  int group() const { return heads / kv_heads; }
};

std::vector<float> random_floats(std::int64_t count, unsigned seed) {
  std::minstd_rand random(seed);
  std::vector<float> out(count);
  for (float& x : out) x = static_cast<float>(random() % 20001) / 10000 - 1;
  return out;
}

class Pair {
 public:
  Pair(const Code& code, const Shape& shape)
      : code_(code),
        s_(shape),
        stride_((s_.kv_len + 15) / 16 * 16),
        q_(random_floats(s_.qo_len * s_.heads * s_.dim, 1)),
        k_(random_floats(s_.kv_len * s_.kv_heads * s_.dim, 2)),
        v_(random_floats(s_.kv_len * s_.kv_heads * s_.dim, 3)),
        fused_out_(q_.size()),
        unfused_out_(q_.size()),
        panels_(s_.kv_heads * s_.kv_len * padded_dim()),
        scores_((s_.qo_len == 1 ? s_.heads : kThreads * s_.qo_len) * stride_),
        scratch_(kThreads * scratch_floats()) {
    p_.batch = 1;
    p_.qo_len = s_.qo_len;
    p_.kv_len = s_.kv_len;
    p_.num_qo_heads = s_.heads;
    p_.num_kv_heads = s_.kv_heads;
    p_.group_size = s_.group();
    p_.head_dim_qk = p_.head_dim_vo = s_.dim;
    p_.q[0] = rows_of(q_, s_.heads);
    p_.k[0] = rows_of(k_, s_.kv_heads);
    p_.v = rows_of(v_, s_.kv_heads);
    p_.out = rows_of(fused_out_, s_.heads);
    p_.softmax_scale = 1 / std::sqrt(static_cast<float>(s_.dim));
    if (s_.causal) p_.window_right = 0;
    path_ = cpu::preferred_path(p_);
  }

  std::size_t workspace() const { return cpu::attention_workspace(p_, code_.fused, path_, kThreads); }
  void fused(Execution& execution) { cpu::run_attention(p_, code_.fused, path_, execution); }
  void unfused(Execution& execution) { s_.qo_len == 1 ? decode(execution) : prefill(execution); }

  double largest_difference() const {
    double largest = 0;
    for (std::size_t i = 0; i < fused_out_.size(); ++i) largest = std::max<double>(largest, std::fabs(fused_out_[i] - unfused_out_[i]));
    return largest;
  }

 private:
  std::int64_t cols() const { return code_.simd.gemm_cols; }
  std::int64_t padded_dim() const { return (s_.dim + cols() - 1) / cols() * cols(); }
  std::int64_t scratch_floats() const {
    return std::max(cpu::linear_scratch_floats(s_.qo_len, cpu::kLinearColAlign, true), cpu::linear_scratch_floats(s_.group(), kKeyBlock, true));
  }
  HeadRows rows_of(std::vector<float>& data, int heads) const {
    HeadRows rows;
    rows.data = reinterpret_cast<std::byte*>(data.data());
    rows.row_stride = static_cast<std::int64_t>(heads) * s_.dim;
    rows.head_stride = s_.dim;
    rows.dim = s_.dim;
    return rows;
  }

  /// scores[rows, keys begin … end) = x · Kᵀ of one kv head.
  void multiply_keys(const float* x, std::int64_t x_stride, std::int64_t rows, int kv_head, std::int64_t begin, std::int64_t end, float* scores, int thread) {
    const bool packed = rows >= 12;  // as `linear` decides
    const std::int64_t step = packed ? cpu::kLinearColAlign : kKeyBlock;
    for (std::int64_t j = begin; j < end; j += step) {
      cpu::LinearTile tile{};
      tile.x = x;
      tile.x_stride = x_stride;
      tile.rows = rows;
      tile.weight_stride = static_cast<std::int64_t>(s_.kv_heads) * s_.dim;
      tile.weight = reinterpret_cast<const std::byte*>(k_.data() + j * tile.weight_stride + kv_head * s_.dim);
      tile.cols = std::min(step, end - j);
      tile.depth = s_.dim;
      tile.y = reinterpret_cast<std::byte*>(scores + j);
      tile.y_stride = stride_;
      tile.scratch = scratch_.data() + thread * scratch_floats();
      (packed ? code_.linear->multiply_packed : code_.linear->multiply_direct)(tile);
    }
  }

  void prefill(Execution& execution) {
    const std::int64_t width = static_cast<std::int64_t>(s_.kv_heads) * s_.dim;
    execution.parallel_for(s_.kv_heads, [&](std::int64_t head, int) {
      for (std::int64_t d = 0; d < s_.dim; d += cols()) {
        float* panel = panels_.data() + (head * padded_dim() + d) * s_.kv_len;
        const std::size_t bytes = std::min<std::int64_t>(cols(), s_.dim - d) * sizeof(float);
        for (std::int64_t j = 0; j < s_.kv_len; ++j) std::memcpy(panel + j * cols(), v_.data() + j * width + head * s_.dim + d, bytes);
      }
    });
    execution.parallel_for(s_.heads, [&](std::int64_t head, int thread) {
      const int kv_head = static_cast<int>(head) / s_.group();
      const std::int64_t row = static_cast<std::int64_t>(s_.heads) * s_.dim;
      float* scores = scores_.data() + thread * s_.qo_len * stride_;
      multiply_keys(q_.data() + head * s_.dim, row, s_.qo_len, kv_head, 0, s_.kv_len, scores, thread);
      for (std::int64_t i = 0; i < s_.qo_len; ++i) {
        const std::int64_t seen = s_.causal ? i + s_.kv_len - s_.qo_len + 1 : s_.kv_len;
        code_.simd.softmax(scores + i * stride_, seen, p_.softmax_scale);
        std::fill(scores + i * stride_ + seen, scores + i * stride_ + s_.kv_len, 0.0f);
      }
      code_.simd.gemm(false, s_.qo_len, s_.dim, s_.kv_len, scores, stride_, panels_.data() + kv_head * padded_dim() * s_.kv_len, cols(), cols() * s_.kv_len,
                      unfused_out_.data() + head * s_.dim, row);
    });
  }

  void decode(Execution& execution) {
    const std::int64_t blocks = (s_.kv_len + kKeyBlock - 1) / kKeyBlock, panels = padded_dim() / cols();
    const auto scores_of = [&](std::int64_t kv_head) { return scores_.data() + kv_head * s_.group() * stride_; };
    execution.parallel_for(s_.kv_heads * blocks, [&](std::int64_t task, int thread) {
      const int head = static_cast<int>(task % s_.kv_heads);
      const std::int64_t begin = task / s_.kv_heads * kKeyBlock;
      multiply_keys(q_.data() + static_cast<std::int64_t>(head) * s_.group() * s_.dim, s_.dim, s_.group(), head, begin, std::min(begin + kKeyBlock, s_.kv_len),
                    scores_of(head), thread);
    });
    execution.parallel_for(s_.heads, [&](std::int64_t head, int) { code_.simd.softmax(scores_.data() + head * stride_, s_.kv_len, p_.softmax_scale); });
    execution.parallel_for(s_.kv_heads * panels, [&](std::int64_t task, int) {
      const std::int64_t head = task % s_.kv_heads, d = task / s_.kv_heads * cols(), width = static_cast<std::int64_t>(s_.kv_heads) * s_.dim;
      code_.simd.gemm(false, s_.group(), std::min(cols(), s_.dim - d), s_.kv_len, scores_of(head), stride_, v_.data() + head * s_.dim + d, width, cols(),
                      unfused_out_.data() + head * s_.group() * s_.dim + d, s_.dim);
    });
  }

  const Code& code_;
  const Shape s_;
  const std::int64_t stride_;
  std::vector<float> q_, k_, v_, fused_out_, unfused_out_, panels_, scores_, scratch_;
  AttentionProblem p_;
  cpu::AttentionPath path_;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

/// Seconds of `calls` runs, each an item of the queue.
double time_of(cpu::Queue& queue, std::size_t workspace, int calls, const std::function<void(Execution&)>& run) {
  static const CancelFlag cancel = std::make_shared<std::atomic<bool>>(false);
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) queue.enqueue(static_cast<std::int64_t>(workspace), kThreads, cancel, run);
  queue.wait_for(queue.last_enqueued());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() / calls;
}

}  // namespace

/// Returns 1 where the two disagree; how fast they are is for the reader to judge.
int run_sweep() {
  const Code code = code_in_use();
  cpu::ThreadPool& pool = *new cpu::ThreadPool(kThreads);  // never destroyed, as in the backend
  cpu::Queue& queue = *new cpu::Queue(pool, *new cpu::Memory);
  bool agree = true;
  const char* separator = "";
  std::printf("{\"isa\": \"%s\", \"threads\": %d, \"dtype\": \"float32\", \"shapes\": [", cpu::isa_in_use(), kThreads);
  const int head_shapes[][3] = {{32, 8, 128}, {8, 8, 64}, {16, 1, 64}};
  for (const auto& [heads, kv_heads, dim] : head_shapes) {
    for (int mode = 0; mode < 3; ++mode) {  // decode, full, causal
      for (std::int64_t length : {1, 16, 64, 256, 1024, 2048, 4096}) {
        if (mode > 0 && length == 1) continue;  // one row is decode
        const Shape shape{mode == 0 ? 1 : length, length, heads, kv_heads, dim, mode == 2};
        Pair pair(code, shape);
        const auto fused = [&](Execution& execution) { pair.fused(execution); };
        const auto unfused = [&](Execution& execution) { pair.unfused(execution); };
        const std::size_t workspace = pair.workspace();
        time_of(queue, workspace, 1, fused);
        const double once = time_of(queue, workspace, 1, unfused);
        const double difference = pair.largest_difference();
        agree = agree && difference < 1e-4;
        const int calls = static_cast<int>(std::clamp(0.004 / once, 1.0, 200.0)), rounds = once > 0.2 ? 3 : 15;
        std::vector<double> ours, theirs, ratios;
        for (int round = 0; round < rounds; ++round) {
          ours.push_back(time_of(queue, workspace, calls, fused));
          theirs.push_back(time_of(queue, workspace, calls, unfused));
          ratios.push_back(theirs.back() / ours.back());
        }
        std::printf(
            "%s\n  {\"op\": \"%s\", \"length\": %ld, \"heads\": [%d, %d], \"dim\": %d, \"causal\": %s, \"fusedSeconds\": %.4g, \"unfusedSeconds\": %.4g, "
            "\"unfusedOverFused\": %.3f, \"rounds\": %d, \"largestDifference\": %.2g}",
            separator, mode == 0 ? "decode" : "prefill", static_cast<long>(length), heads, kv_heads, dim, mode == 2 ? "true" : "false", median(ours),
            median(theirs), median(ratios), rounds, difference);
        std::fflush(stdout);
        separator = ",";
      }
    }
  }
  std::printf("\n]}\n");
  return agree ? 0 : 1;
}

}  // namespace attn::test
