#pragma once

#include <napi.h>

#include <new>

#include "core/error.h"

namespace attn::binding {

/// A plain JavaScript error that carries the fields of attn::Error; lib/native.ts turns it into the API's classes, so that
/// instanceof holds in the caller's realm.
Napi::Error to_js_error(Napi::Env env, const Error& error);

/// The function that JavaScript sees for `fn`: whatever native code throws becomes such an error.
template <Napi::Value (*fn)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return fn(info);
  } catch (const Error& error) {
    throw to_js_error(info.Env(), error);
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw to_js_error(info.Env(), Error(ErrorCode::kOutOfMemory, "out of memory"));
  } catch (const std::exception& error) {
    throw to_js_error(info.Env(), Error(ErrorCode::kInternal, error.what()));
  }
}

}  // namespace attn::binding
