#include "core/registry.h"

#include <atomic>
#include <map>
#include <mutex>

namespace attn {
namespace {

struct Book {
  std::mutex mutex;
  std::vector<KernelUse> rows;
  std::map<std::string, int> index;
  KernelInfo forced;  // empty name: none
  std::atomic<bool> any_forced{false};
};

Book& book() {
  static Book* book = new Book;  // leaked: queues outlive static destruction
  return *book;
}

}  // namespace

int enter_kernel(const KernelInfo& info) {
  Book& b = book();
  std::lock_guard lock(b.mutex);
  const int number = static_cast<int>(b.rows.size());
  b.rows.push_back({info, 0});
  b.index[info.name] = number;
  return number;
}

void count_run(const std::string& name) {
  Book& b = book();
  std::lock_guard lock(b.mutex);
  if (auto found = b.index.find(name); found != b.index.end()) ++b.rows[found->second].runs;
}

std::vector<KernelUse> all_kernels() {
  Book& b = book();
  std::lock_guard lock(b.mutex);
  return b.rows;
}

void force_kernel(const std::string& name) {
  Book& b = book();
  std::lock_guard lock(b.mutex);
  if (name.empty()) {
    b.forced = {};
  } else if (auto found = b.index.find(name); found != b.index.end()) {
    b.forced = b.rows[found->second].info;
  } else {
    throw Error(ErrorCode::kInternal, "no kernel is named " + name);
  }
  b.any_forced = !name.empty();
}

bool passed_over(const KernelInfo& info) {
  Book& b = book();
  if (!b.any_forced) return false;
  std::lock_guard lock(b.mutex);
  return !b.forced.name.empty() && info.op == b.forced.op && info.device == b.forced.device && info.name != b.forced.name;
}

std::optional<std::string> dtypes_missing(DTypeMask named, DTypeMask operands) {
  const auto list = [](DTypeMask dtypes) {
    std::string text;
    for (int i = 0; i < kNumDTypes; ++i) {
      const DType dtype = static_cast<DType>(i);
      if (dtypes & mask_of(dtype)) text += (text.empty() ? "" : ", ") + std::string(dtype_name(dtype));
    }
    return text;
  };
  const DTypeMask others = operands & static_cast<DTypeMask>(~named);
  if (others == 0) return std::nullopt;
  return "takes " + list(named) + ", received " + list(others);
}

}  // namespace attn
