#include <napi.h>

#include "binding/js_thread.h"
#include "binding/ops/ops.h"
#include "cpu/backend.h"
#ifdef ATTN_WITH_CUDA
#include "cuda/backend.h"
#endif

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  using namespace attn::binding;
  attn::cpu::register_cpu();
#ifdef ATTN_WITH_CUDA
  attn::cuda::register_cuda();
#endif
  set_up_environment(env);
  export_devices(env, exports);
  export_tensors(env, exports);
  export_reads(env, exports);
  export_attention(env, exports);
  export_mla(env, exports);
  export_merge(env, exports);
  export_rope(env, exports);
  export_rms_norm(env, exports);
  export_linear(env, exports);
  export_paged_kv(env, exports);
  export_latent_rows(env, exports);
  export_quantize_float8(env, exports);
  export_probe(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(attn, init)
