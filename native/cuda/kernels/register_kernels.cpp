#include "cuda/kernels/register_kernels.h"

namespace attn::cuda {

void register_all_kernels() {
  register_attention_decode_kernels();
  register_attention_split_kernels();
  register_mla_decode_kernels();
  register_attention_prefill_kernels();
  register_attention_kernels();
  register_attention_plain_kernels();  // the last rows of both ops: they take every problem
  register_merge_kernels();
  register_linear_blas_kernels();  // where cuBLASLt is installed
  register_linear_kernels();
  register_rms_norm_kernels();
  register_rope_kernels();
  register_copy_kernels();
  register_paged_kv_kernels();
  register_latent_row_kernels();
  register_quantize_float8_kernels();
  register_randn_kernels();
}

}  // namespace attn::cuda
