#pragma once

#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace attn {

/// The codes of the API's errors (lib/errors.ts maps them to classes).
enum class ErrorCode { kInvalidArgument, kShapeMismatch, kDisposed, kUnsupported, kOutOfMemory, kDeviceUnavailable, kCuda, kInternal };

constexpr const char* error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "INVALID_ARGUMENT";
    case ErrorCode::kShapeMismatch: return "SHAPE_MISMATCH";
    case ErrorCode::kDisposed: return "DISPOSED";
    case ErrorCode::kUnsupported: return "UNSUPPORTED";
    case ErrorCode::kOutOfMemory: return "OUT_OF_MEMORY";
    case ErrorCode::kDeviceUnavailable: return "DEVICE_UNAVAILABLE";
    case ErrorCode::kCuda: return "CUDA";
    case ErrorCode::kInternal: return "INTERNAL";
  }
  return "INTERNAL";
}

/// The one exception type of the native half. Which fields are filled follows from the code.
class Error : public std::exception {
 public:
  struct Rejection {
    std::string kernel, reason;
  };

  Error(ErrorCode code, std::string message) : code(code), message(std::move(message)) {}
  const char* what() const noexcept override { return message.c_str(); }

  ErrorCode code;
  std::string message;
  std::string argument, expected, received;  // kInvalidArgument, kShapeMismatch
  std::vector<Rejection> rejected;           // kUnsupported
  double requested = 0, available = 0;       // kOutOfMemory, bytes
};

}  // namespace attn
