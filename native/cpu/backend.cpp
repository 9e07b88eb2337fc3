#include "cpu/backend.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "core/backend.h"
#include "cpu/isa.h"
#include "cpu/kernels/attention_kernels.h"
#include "cpu/kernels/register_ops.h"
#include "cpu/memory.h"
#include "cpu/queue.h"
#include "cpu/thread_pool.h"

namespace attn::cpu {
namespace {

std::string processor_name() {
  std::string name = "CPU";
  if (std::FILE* file = std::fopen("/proc/cpuinfo", "r")) {
    char line[256];
    while (std::fgets(line, sizeof line, file)) {
      if (std::strncmp(line, "model name", 10) != 0) continue;
      if (const char* colon = std::strchr(line, ':')) {
        name = colon + 2;
        while (!name.empty() && (name.back() == '\n' || name.back() == ' ')) name.pop_back();
      }
      break;
    }
    std::fclose(file);
  }
  return name;
}

/// About what one thread takes for it, with data from a cache.
double nanoseconds_of(const WorkSize& size) {
  static const double operations_per_ns = [] {
    const std::string isa = isa_in_use();
    return isa == "baseline" || isa == "neon" ? 10 : isa == "avx2" ? 40 : 80;
  }();
  constexpr double kBytesPerNs = 16, kLeast = 300;
  return kLeast + std::max(size.operations / operations_per_ns, size.bytes / kBytesPerNs);
}

class CpuBackend : public Backend {
 public:
  CpuBackend() : pool_(usable_processors()), queue_(pool_, memory_) {}

  DeviceType type() const override { return DeviceType::kCpu; }
  DeviceDescription describe() const override {
    DeviceDescription d;
    d.id = "cpu";
    d.type = DeviceType::kCpu;
    d.name = processor_name();
    d.arch = isa_in_use();
    d.total_memory = total_memory();
    d.free_memory = available_memory();
    d.units = pool_.num_threads();
    return d;
  }
  MemoryUse memory() const override { return memory_.use(); }

  std::byte* allocate(std::int64_t bytes) override { return memory_.allocate(bytes); }
  void release(std::byte* data, std::int64_t bytes) override { memory_.release(data, bytes); }
  void count_tensor(int delta) override { memory_.count_tensor(delta); }

  void upload(std::byte* data, const std::byte* host, std::int64_t bytes) override {
    if (bytes > 0) std::memcpy(data, host, static_cast<std::size_t>(bytes));
  }
  void fill_zeros(std::byte* data, std::int64_t bytes) override { std::memset(data, 0, static_cast<std::size_t>(bytes)); }
  void download(const std::byte* data, std::byte* host, std::int64_t bytes, CancelFlag cancel) override {
    queue_.enqueue(0, 1, std::move(cancel), [=](Execution&) { std::memcpy(host, data, static_cast<std::size_t>(bytes)); });
  }

  std::uint64_t enqueue(std::int64_t workspace_bytes, int threads, CancelFlag cancel, std::function<void(Execution&)> work) override {
    return queue_.enqueue(workspace_bytes, threads, std::move(cancel), std::move(work));
  }
  std::uint64_t enqueue_sized(const WorkSize& size, std::int64_t workspace_bytes, int threads, CancelFlag cancel,
                              std::function<void(Execution&)> work) override {
    std::int32_t* put_off = current_put_off();
    return queue_.enqueue(workspace_bytes, threads, std::move(cancel), std::move(work), put_off, put_off ? nanoseconds_of(size) : 0);
  }
  void offer() override { queue_.offer(); }
  bool finish_put_off() override { return queue_.finish_put_off(); }
  void when_reached(CancelFlag cancel, std::function<void()> then) override {
    queue_.enqueue(0, 1, std::move(cancel), [then = std::move(then)](Execution&) { then(); });
  }
  std::uint64_t last_enqueued() override { return queue_.last_enqueued(); }
  void wait_for(std::uint64_t item) override { queue_.wait_for(item); }
  void wait_for_cancelled(const CancelFlag& cancel) override { queue_.wait_for_cancelled(cancel); }
  std::string failure(bool clear) override { return queue_.failure(clear); }

  int num_threads() const override { return pool_.num_threads(); }
  void set_num_threads(int count) override { pool_.set_num_threads(count); }

 private:
  Memory memory_;
  ThreadPool pool_;
  Queue queue_;
};

}  // namespace

void register_cpu() {
  static std::once_flag once;
  std::call_once(once, [] {
    register_attention_kernels();
    register_op_kernels();
    provide_backend(new CpuBackend);  // never destroyed: its threads run until the process ends
  });
}

}  // namespace attn::cpu
