#include "cpu/kernels/register_ops.h"

namespace attn::cpu {

void register_op_kernels() {
  register_linear_bf16_kernels();  // before the others: the first that takes a problem runs
  register_linear_kernels();
  register_rms_norm_kernels();
  register_rope_kernels();
  register_merge_kernels();
  register_copy_kernels();
  register_randn_kernels();
  register_paged_kv_kernels();
  register_latent_row_kernels();
  register_quantize_float8_kernels();
  register_probes();
}

}  // namespace attn::cpu
