#pragma once

#include <napi.h>

namespace attn::binding {

/// Each file of this folder puts its functions on the addon's exports. THE op table is the init of addon.cpp.
void export_devices(Napi::Env env, Napi::Object exports);
void export_tensors(Napi::Env env, Napi::Object exports);
void export_reads(Napi::Env env, Napi::Object exports);
void export_attention(Napi::Env env, Napi::Object exports);
void export_mla(Napi::Env env, Napi::Object exports);
void export_merge(Napi::Env env, Napi::Object exports);
void export_rope(Napi::Env env, Napi::Object exports);
void export_rms_norm(Napi::Env env, Napi::Object exports);
void export_linear(Napi::Env env, Napi::Object exports);
void export_paged_kv(Napi::Env env, Napi::Object exports);
void export_latent_rows(Napi::Env env, Napi::Object exports);
void export_quantize_float8(Napi::Env env, Napi::Object exports);
void export_probe(Napi::Env env, Napi::Object exports);

}  // namespace attn::binding
