#pragma once

#include <napi.h>

#include "binding/errors.h"

namespace attn::binding {

/// exports[name] = fn, with native errors turned into JavaScript's.
template <Napi::Value (*fn)(const Napi::CallbackInfo&)>
void export_function(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<guarded<fn>>(env, name));
}

}  // namespace attn::binding
