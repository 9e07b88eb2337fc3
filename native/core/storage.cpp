#include "core/storage.h"

#include <utility>

#include "core/backend.h"

namespace attn {

Storage::Storage(Backend& backend, std::int64_t bytes) : backend_(backend), data_(backend.allocate(bytes)), bytes_(bytes), owned_(true) {
  backend_.count_tensor(+1);
}

Storage::Storage(Backend& backend, std::byte* data, std::int64_t bytes, std::function<void()> release)
    : backend_(backend), data_(data), bytes_(bytes), owned_(false), release_(std::move(release)) {
  backend_.count_tensor(+1);
}

Storage::~Storage() {
  if (owned_) backend_.release(data_, bytes_);
  if (release_) release_();
  backend_.count_tensor(-1);
}

}  // namespace attn
