// An array of zeros whose pages cost nothing until they are written: tests use tensors of several GiB of which they touch a few rows.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>

namespace vgpu {

template <class T>
class Mapped {
 public:
  Mapped() = default;
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  ~Mapped() { clear(); }

  /// `count` zeros in the place of what was there.
  void reset(std::uint64_t count) {
    clear();
    if (count == 0) return;
    void* const pages = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    values_ = static_cast<T*>(pages);
    count_ = count;
  }
  void clear() {
    if (count_ != 0) munmap(values_, count_ * sizeof(T));
    values_ = nullptr;
    count_ = 0;
  }
  bool empty() const { return count_ == 0; }
  T& operator[](std::uint64_t n) { return values_[n]; }
  const T& operator[](std::uint64_t n) const { return values_[n]; }

 private:
  T* values_ = nullptr;
  std::uint64_t count_ = 0;
};

}  // namespace vgpu
