#pragma once

#include "binding/args.h"
#include "core/attention_calls.h"

namespace attn::binding {

/// The object that lib/ops/options.ts makes (NativeAttentionOptions in lib/native.ts).
AttentionOptions attention_options(const Args& args, std::size_t i);
/// { out, lse }, each null where there is nothing new: no lse asked for, `out` given by the options at argument i.
Napi::Value attention_result(const Args& args, std::size_t i, const AttentionOutput& output);
Napi::Value plan_result(Napi::Env env, const PlanInfo& plan);

}  // namespace attn::binding
