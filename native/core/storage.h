#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace attn {

class Backend;

/// Memory of a device, freed when the last view or queued job lets go of it.
class Storage {
 public:
  /// Allocates; throws kOutOfMemory. Contents are undefined.
  Storage(Backend& backend, std::int64_t bytes);
  /// Borrows memory of the host; `release` runs when the last holder lets go, on whatever thread that is.
  Storage(Backend& backend, std::byte* data, std::int64_t bytes, std::function<void()> release);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }
  Backend& backend() const { return backend_; }

 private:
  Backend& backend_;
  std::byte* data_;
  std::int64_t bytes_;
  bool owned_;
  std::function<void()> release_;
};

using StoragePtr = std::shared_ptr<Storage>;

}  // namespace attn
