#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/dtype.h"
#include "core/work_size.h"

namespace attn {

inline constexpr int kMaxRank = 8;

enum class DeviceType : std::uint8_t { kCpu, kCuda };
constexpr const char* device_name(DeviceType type) { return type == DeviceType::kCpu ? "cpu" : "cuda"; }

/// One device: the CPU, or a GPU by its number.
struct Device {
  DeviceType type = DeviceType::kCpu;
  std::uint8_t index = 0;

  constexpr Device(DeviceType type = DeviceType::kCpu, int index = 0) : type(type), index(static_cast<std::uint8_t>(index)) {}
  friend constexpr bool operator==(Device, Device) = default;
};
/// "cpu", "cuda:1"
inline std::string device_id(Device device) { return device.type == DeviceType::kCpu ? "cpu" : "cuda:" + std::to_string(device.index); }

/// Pointer, shape and strides (in elements) of a tensor on one device. Owns nothing.
struct TensorView {
  std::byte* data = nullptr;
  DType dtype = DType::kFloat32;
  Device device;
  int rank = 0;
  std::array<std::int64_t, kMaxRank> shape{};
  std::array<std::int64_t, kMaxRank> strides{};

  std::int64_t size() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }
  bool is_contiguous() const {
    std::int64_t expected = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (shape[i] != 1 && strides[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  }
};

/// Of an op that reads one tensor and writes another, with so many operations for each element that it writes.
inline WorkSize elementwise_size(const TensorView& from, const TensorView& to, int operations) {
  const double size = static_cast<double>(to.size());
  return {size * operations, size * static_cast<double>(dtype_size(from.dtype) + dtype_size(to.dtype))};
}

/// "[2, 3, 4]"
inline std::string shape_text(const TensorView& view) {
  std::string text = "[";
  for (int i = 0; i < view.rank; ++i) text += (i ? ", " : "") + std::to_string(view.shape[i]);
  return text + "]";
}

}  // namespace attn
