#pragma once

#include <napi.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "binding/tensor_handle.h"
#include "core/check.h"
#include "core/enqueue.h"

namespace attn::binding {

/// The arguments of one call from lib/: their number and kinds are checked here, their meaning in core.
class Args {
 public:
  Args(const Napi::CallbackInfo& info, std::size_t count) : info_(info) {
    if (info.Length() != count) {
      fail_argument(ErrorCode::kInvalidArgument, "arguments", std::to_string(count) + " arguments", std::to_string(info.Length()));
    }
  }

  Napi::Env env() const { return info_.Env(); }
  Napi::Value value(std::size_t i) const { return info_[i]; }
  const Tensor& tensor(std::size_t i, const char* name) const { return unwrap_handle(name, info_[i]); }
  std::optional<Tensor> optional_tensor(std::size_t i, const char* name) const { return unwrap_optional_handle(name, info_[i]); }

  std::string text(std::size_t i, const char* name) const {
    if (!info_[i].IsString()) fail_argument(ErrorCode::kInvalidArgument, name, "a string", "another value");
    return info_[i].As<Napi::String>();
  }
  bool flag(std::size_t i, const char* name) const {
    if (!info_[i].IsBoolean()) fail_argument(ErrorCode::kInvalidArgument, name, "true or false", "another value");
    return info_[i].As<Napi::Boolean>();
  }
  double number(std::size_t i, const char* name) const { return number_of(info_[i], name); }
  std::int64_t integer(std::size_t i, const char* name) const { return integer_of(info_[i], name); }

  std::vector<std::int64_t> integers(std::size_t i, const char* name) const {
    if (!info_[i].IsArray()) fail_argument(ErrorCode::kInvalidArgument, name, "an array of integers", "another value");
    const Napi::Array array = info_[i].As<Napi::Array>();
    std::vector<std::int64_t> out(array.Length());
    for (std::uint32_t k = 0; k < out.size(); ++k) out[k] = integer_of(array.Get(k), name);
    return out;
  }
  /// A copy of an Int32Array, or null for null.
  HostInts host_ints(std::size_t i, const char* name) const {
    if (info_[i].IsNull()) return nullptr;
    if (!info_[i].IsTypedArray() || info_[i].As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
      fail_argument(ErrorCode::kInvalidArgument, name, "an Int32Array", "another value");
    }
    const Napi::Int32Array array = info_[i].As<Napi::Int32Array>();
    return std::make_shared<const std::vector<std::int32_t>>(array.Data(), array.Data() + array.ElementLength());
  }
  HostInts required_ints(std::size_t i, const char* name) const {
    HostInts ints = host_ints(i, name);
    if (!ints) fail_argument(ErrorCode::kInvalidArgument, name, "an Int32Array", "null");
    return ints;
  }
  Napi::Object object(std::size_t i, const char* name) const {
    if (!info_[i].IsObject()) fail_argument(ErrorCode::kInvalidArgument, name, "an object", "another value");
    return info_[i].As<Napi::Object>();
  }

  static double number_of(const Napi::Value& value, const char* name) {
    if (!value.IsNumber()) fail_argument(ErrorCode::kInvalidArgument, name, "a number", "another value");
    return value.As<Napi::Number>().DoubleValue();
  }
  static std::int64_t integer_of(const Napi::Value& value, const char* name) {
    const double number = number_of(value, name);
    if (!(std::abs(number) <= 9007199254740991.0) || number != std::trunc(number)) {
      fail_argument(ErrorCode::kInvalidArgument, name, "an integer", std::to_string(number));
    }
    return static_cast<std::int64_t>(number);
  }

 private:
  const Napi::CallbackInfo& info_;
};

/// Bits of a typed array or DataView: where they lie and how many bytes.
struct HostBits {
  std::byte* data;
  std::int64_t bytes;
};
HostBits host_bits(const char* name, const Napi::Value& value);

/// 'cpu' | 'cuda' | 'cuda:<n>'; 'cuda' is 'cuda:0'.
Device device_named(const std::string& id);
/// Throws kDeviceUnavailable where there is no such device.
Backend& backend_named(const std::string& id);
DType dtype_numbered(std::int64_t code);

}  // namespace attn::binding
