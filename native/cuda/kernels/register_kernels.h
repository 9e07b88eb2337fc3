#pragma once
// Registration of the CUDA kernels: one function per folder. Within an op, the order of the calls is the order of the rows.

namespace attn::cuda {

void register_attention_decode_kernels();
void register_attention_split_kernels();
void register_attention_prefill_kernels();
void register_attention_kernels();
void register_attention_plain_kernels();
void register_mla_decode_kernels();
void register_latent_row_kernels();
void register_merge_kernels();
void register_linear_blas_kernels();
void register_linear_kernels();
void register_rms_norm_kernels();
void register_rope_kernels();
void register_copy_kernels();
void register_paged_kv_kernels();
void register_quantize_float8_kernels();
void register_randn_kernels();

void register_all_kernels();

}  // namespace attn::cuda
