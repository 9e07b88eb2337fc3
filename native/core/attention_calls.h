#pragma once
// The attention calls as the binding makes them: each checks everything, allocates its outputs, enqueues and returns.

#include <cstdint>
#include <optional>
#include <string>

#include "core/enqueue.h"
#include "core/tensor.h"

namespace attn {

struct AttentionOptions {
  bool causal = false;
  std::int64_t window_left = -1;
  std::int64_t window_right = -1;
  std::optional<float> softmax_scale;
  float logit_softcap = 0;
  std::optional<Tensor> alibi_slopes;
  std::optional<Tensor> sinks;
  bool return_lse = false;
  std::optional<Tensor> out;
  // float32 [num_kv_heads] or [batch, num_kv_heads], of operands in float8_e4m3 only; none: 1.
  std::optional<Tensor> query_scales, key_scales, value_scales;
  std::optional<DType> dtype;  // of out, where the queries are float8_e4m3; none: that of `out`, else bfloat16
};

struct AttentionOutput {
  Tensor out;
  std::optional<Tensor> lse;
};

/// A plan's schedule on the device, and AttentionProblem's numbers of it.
struct PlannedSchedule {
  Tensor words;
  std::int64_t parts = 0;
  std::int64_t pieces = 0;
};

/// q [batch, qo_len, heads, dim] · k, v [batch, kv_len, kv heads, dim]; kv_lens [batch] int32 tensor; qo_lens [batch] on the host.
AttentionOutput flash_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, const std::optional<Tensor>& kv_lens,
                                const HostInts& qo_lens);

/// q [total_qo, heads, dim] · k, v [total_kv, kv heads, dim]; indptr [batch + 1].
AttentionOutput flash_attention_varlen(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, const HostInts& qo_indptr,
                                       const HostInts& kv_indptr);

/// keys, values [num_pages, page_size, kv heads, dim]; page_table [batch, max_pages], kv_lens [batch] int32.
/// max_kv_len is the longest of the batch as the caller knows it on the host.
AttentionOutput paged_attention(const Tensor& q, const Tensor& keys, const Tensor& values, const Tensor& page_table, const Tensor& kv_lens,
                                std::int64_t max_kv_len, const AttentionOptions& options, const HostInts& qo_lens);

/// q_nope [batch, qo_len, heads, kv_lora_rank] (absorbed), q_pe [.., qk_rope_head_dim] · latents [num_pages, page_size, kv_lora_rank + qk_rope_head_dim],
/// or float8_e4m3 [num_pages, page_size, 656] of LatentRow (core/latent_rows.h), with a kv_lora_rank of 512 and a qk_rope_head_dim of 64.
/// options.softmax_scale must be given.
/// A schedule is that of a plan of the same shape.
AttentionOutput mla_decode(const Tensor& q_nope, const Tensor& q_pe, const Tensor& latents, const Tensor& page_table, const Tensor& kv_lens,
                           std::int64_t max_kv_len, const AttentionOptions& options, const HostInts& qo_lens, const std::optional<PlannedSchedule>& schedule);

/// MLA with per-head keys and values and one rope key for all heads: k_nope [batch, kv_len, heads, nope], k_pe [batch, kv_len, rope], v [.., v dim].
AttentionOutput mla_prefill(const Tensor& q_nope, const Tensor& q_pe, const Tensor& k_nope, const Tensor& k_pe, const Tensor& v,
                            const AttentionOptions& options, const std::optional<Tensor>& kv_lens, const HostInts& qo_lens);

/// What the chosen kernel will do with a paged call of this shape.
struct PlanInfo {
  std::string kernel;
  std::int64_t num_splits = 1;
  std::int64_t workspace_bytes = 0;
  std::optional<PlannedSchedule> schedule;
};
PlanInfo paged_attention_plan(const Tensor& keys, const Tensor& values, const Tensor& page_table, const Tensor& kv_lens, std::int64_t max_kv_len,
                              std::int64_t qo_len, std::int64_t num_qo_heads);
/// host_kv_lens: those of kv_lens, as the host knows them.
PlanInfo mla_decode_plan(const Tensor& latents, const Tensor& page_table, const Tensor& kv_lens, std::int64_t max_kv_len, std::int64_t qo_len,
                         std::int64_t num_heads, std::int64_t kv_lora_rank, const HostInts& host_kv_lens);

}  // namespace attn
