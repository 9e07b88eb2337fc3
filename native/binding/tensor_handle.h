#pragma once

#include <napi.h>

#include <optional>

#include "core/tensor.h"

namespace attn::binding {

/// A new JavaScript handle. `owned_bytes` tells the garbage collector what its death would free.
Napi::Value make_handle(Napi::Env env, Tensor tensor, std::int64_t owned_bytes);
/// For tensors that an op allocated.
inline Napi::Value make_handle(Napi::Env env, const Tensor& tensor) { return make_handle(env, tensor, tensor.storage->bytes()); }

/// What an op with an `out` option returns: null when the caller gave one (it has its handle), else the new tensor's.
inline Napi::Value out_handle(Napi::Env env, const Tensor& tensor, bool given) { return given ? env.Null() : make_handle(env, tensor); }

/// Two results, as an array.
Napi::Value handle_pair(Napi::Env env, Napi::Value first, Napi::Value second);

/// The tensor behind a value. Throws kInvalidArgument for anything but a handle of this addon, kDisposed after dispose.
const Tensor& unwrap_handle(const char* argument, const Napi::Value& value);
std::optional<Tensor> unwrap_optional_handle(const char* argument, const Napi::Value& value);
void dispose_handle(const char* argument, const Napi::Value& value);

}  // namespace attn::binding
