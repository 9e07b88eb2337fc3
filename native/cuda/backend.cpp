#include "cuda/backend.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <utility>

#include "core/backend.h"
#include "cuda/completions.h"
#include "cuda/device.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/pinned.h"

namespace attn::cuda {
namespace {

CUdeviceptr address(const std::byte* data) { return reinterpret_cast<CUdeviceptr>(data); }

/// Work is launched on the thread that enqueues it; the stream is the queue.
class CudaBackend : public Backend {
 public:
  explicit CudaBackend(int index) : index_(index), completions_(index) {}
  DeviceType type() const override { return DeviceType::kCuda; }
  int index() const override { return index_; }
  void enter() override { enter_device(index_); }
  DeviceDescription describe() const override;
  MemoryUse memory() const override { return {tensors_.load(), bytes_.load(), peak_.load()}; }

  std::byte* allocate(std::int64_t bytes) override;
  void release(std::byte* data, std::int64_t bytes) override;
  void count_tensor(int delta) override { tensors_ += delta; }

  void upload(std::byte* data, const std::byte* host, std::int64_t bytes) override;
  void fill_zeros(std::byte* data, std::int64_t bytes) override;
  void download(const std::byte* data, std::byte* host, std::int64_t bytes, CancelFlag cancel) override;

  std::uint64_t enqueue(std::int64_t workspace_bytes, int threads, CancelFlag cancel, std::function<void(Execution&)> work) override;
  void when_reached(CancelFlag cancel, std::function<void()> then) override { completions_.add(std::move(cancel), std::move(then)); }
  std::uint64_t last_enqueued() override { return completions_.add(nullptr, nullptr); }
  void wait_for(std::uint64_t item) override { completions_.wait_for(item); }
  void wait_for_cancelled(const CancelFlag& cancel) override { completions_.wait_for_cancelled(cancel); }
  std::string failure(bool clear) override { return completions_.failure(clear); }

  int num_threads() const override { return 1; }
  void set_num_threads(int) override {}

 private:
  void count_bytes(std::int64_t delta);

  const int index_;
  Completions completions_;
  std::atomic<std::int64_t> tensors_{0}, bytes_{0}, peak_{0};
};

DeviceDescription CudaBackend::describe() const {
  enter_device(index_);
  const DeviceFacts& facts = device_facts();
  DeviceDescription d;
  d.id = device_id(device());
  d.type = DeviceType::kCuda;
  d.name = facts.name;
  d.arch = "sm_" + std::to_string(facts.capability);
  d.units = facts.num_sms;
  std::size_t free = 0, total = 0;
  check(driver().cuMemGetInfo(&free, &total), "cuMemGetInfo");
  d.free_memory = static_cast<std::int64_t>(free);
  d.total_memory = static_cast<std::int64_t>(total);
  return d;
}

/// Once more after what the pool keeps was given back: it may lie in pieces of the wrong size.
std::byte* CudaBackend::allocate(std::int64_t bytes) {
  enter_device(index_);
  const std::size_t size = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1));
  CUdeviceptr data = 0;
  CUresult result = driver().cuMemAllocAsync(&data, size, stream());
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    check(driver().cuStreamSynchronize(stream()), "work on the device");
    check(driver().cuMemPoolTrimTo(memory_pool(), 0), "cuMemPoolTrimTo");
    result = driver().cuMemAllocAsync(&data, size, stream());
  }
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    std::size_t free = 0, total = 0;
    driver().cuMemGetInfo(&free, &total);
    Error error(ErrorCode::kOutOfMemory,
                device_id(device()) + ": out of memory: " + std::to_string(bytes) + " bytes requested, " + std::to_string(free) + " available");
    error.requested = static_cast<double>(bytes);
    error.available = static_cast<double>(free);
    throw error;
  }
  check(result, "cuMemAllocAsync");
  count_bytes(bytes);
  return reinterpret_cast<std::byte*>(data);
}

/// What a lost device held is gone with it.
void CudaBackend::release(std::byte* data, std::int64_t bytes) {
  count_bytes(-bytes);
  try {
    enter_device(index_);
    driver().cuMemFreeAsync(address(data), stream());
  } catch (const Error&) {
  }
}

void CudaBackend::upload(std::byte* data, const std::byte* host, std::int64_t bytes) {
  enter_device(index_);
  CudaExecution().upload(data, host, static_cast<std::size_t>(bytes));
}

void CudaBackend::fill_zeros(std::byte* data, std::int64_t bytes) {
  if (bytes == 0) return;
  enter_device(index_);
  check(driver().cuMemsetD8Async(address(data), 0, static_cast<std::size_t>(bytes), stream()), "cuMemsetD8Async");
}

/// By way of page-locked memory: a copy to ordinary memory would wait here for all that was enqueued before.
void CudaBackend::download(const std::byte* data, std::byte* host, std::int64_t bytes, CancelFlag cancel) {
  if (bytes == 0) return;
  enter_device(index_);
  const std::shared_ptr<std::byte> staging = pinned_memory(static_cast<std::size_t>(bytes));
  check(driver().cuMemcpyDtoHAsync(staging.get(), address(data), static_cast<std::size_t>(bytes), stream()), "copying to the host");
  // Holds the staging memory until the copy has been made, whether or not anyone still wants it.
  completions_.add(std::move(cancel), [staging, host, bytes] { std::memcpy(host, staging.get(), static_cast<std::size_t>(bytes)); });
}

std::uint64_t CudaBackend::enqueue(std::int64_t workspace_bytes, int, CancelFlag cancel, std::function<void(Execution&)> work) {
  if (cancel && cancel->load(std::memory_order_relaxed)) return 0;
  enter_device(index_);
  struct Workspace {
    CudaBackend& backend;
    std::byte* data;
    std::int64_t bytes;
    ~Workspace() {
      if (data) backend.release(data, bytes);
    }
  } workspace{*this, workspace_bytes > 0 ? allocate(workspace_bytes) : nullptr, workspace_bytes};
  CudaExecution execution;
  execution.workspace = workspace.data;
  work(execution);
  return 0;
}

void CudaBackend::count_bytes(std::int64_t delta) {
  const std::int64_t now = bytes_.fetch_add(delta, std::memory_order_relaxed) + delta;
  std::int64_t peak = peak_.load(std::memory_order_relaxed);
  while (now > peak && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

}  // namespace

void register_cuda() {
  const auto open = [](int index, Refusal& refusal) -> Backend* {
    refusal = open_device(index);
    if (!refusal.reason.empty()) return nullptr;
    static const bool registered = (register_all_kernels(), true);  // once, whichever device comes first
    static_cast<void>(registered);
    return new CudaBackend(index);  // never destroyed: its thread runs until the process ends
  };
  static std::once_flag once;  // workers may load the addon at the same time
  std::call_once(once, [&] { provide_backends_when_asked(DeviceType::kCuda, {count_gpus, open}); });
}

}  // namespace attn::cuda
