#pragma once

#include "binding/args.h"
#include "core/attention_calls.h"

namespace attn::binding {

/// Options are the last arguments of every attention op, in the order of NativeAttentionOptions in lib/native.ts.
inline constexpr std::size_t kAttentionOptions = 13;
AttentionOptions attention_options(const Args& args, std::size_t first);
/// out, null when the options that start at argument `first` gave one; [out, lse] when lse was asked for.
Napi::Value attention_result(const Args& args, std::size_t first, const AttentionOutput& output);
Napi::Value plan_result(Napi::Env env, const PlanInfo& plan);

}  // namespace attn::binding
