#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/error.h"
#include "core/execution.h"
#include "core/tensor_view.h"

namespace attn {

/// What the API's kernels() shows of one kernel.
struct KernelInfo {
  std::string name;  // unique: "<op>_<variant>_<arch>"
  std::string op;
  DeviceType device = DeviceType::kCpu;
  std::string arch;
  DTypeMask dtypes = 0;   // of all operands; where operand_dtypes() of a problem is known, others are turned down for the row
  std::string head_dims;  // "any", "64,128", "8-256", "-" where the op has no heads
  std::string unusable;   // why this machine cannot run it at all; empty when it can
};

/// How a plan shares the keys of a batch among the processors: words of the kernel's own, and how many parts and pieces they speak of.
struct Schedule {
  std::vector<std::int32_t> words;
  std::int64_t parts = 0;
  std::int64_t pieces = 0;
  std::int64_t most_pieces = 0;  // of one sequence
};

/// One row of an op's ordered list: the first whose `reject` returns nothing runs.
template <class Problem>
struct Kernel {
  KernelInfo info;
  /// Why this kernel cannot do this problem here; nullopt when it can.
  std::optional<std::string> (*reject)(const Kernel& self, const Problem& problem) = nullptr;
  /// Bytes of workspace that `run` needs with so many threads.
  std::size_t (*workspace)(const Kernel& self, const Problem& problem, int num_threads) = nullptr;
  void (*run)(const Kernel& self, const Problem& problem, Execution& execution) = nullptr;
  /// Parts that the keys of one row are split into, for plans; absent where there is no such thing.
  std::int64_t (*splits)(const Kernel& self, const Problem& problem) = nullptr;
  /// For plans, from the lengths of the batch as the host knows them; absent where kernels split by shapes alone.
  Schedule (*schedule)(const Kernel& self, const Problem& problem, const std::vector<std::int32_t>& kv_lens) = nullptr;
  const void* table = nullptr;  // the backend's own: a CPU instruction set's functions
};

/// The ordered kernels of one op on one device.
template <class Problem>
std::vector<Kernel<Problem>>& kernels_of(DeviceType device) {
  static std::vector<Kernel<Problem>>* rows = new std::vector<Kernel<Problem>>[2];  // leaked: outlives every queue
  return rows[static_cast<int>(device)];
}

/// Every row's description in order of registration, and how often each ran in this process.
struct KernelUse {
  KernelInfo info;
  std::int64_t runs;
};
std::vector<KernelUse> all_kernels();
/// Enters a row in the list behind all_kernels(); returns its number.
int enter_kernel(const KernelInfo& info);
void count_run(const std::string& name);

/// While a name is set, only the kernel of that name may be chosen for its op: verify and the tests run each row so.
void force_kernel(const std::string& name);
bool passed_over(const KernelInfo& info);

template <class Problem>
void register_kernel(Kernel<Problem> kernel) {
  enter_kernel(kernel.info);
  kernels_of<Problem>(kernel.info.device).push_back(std::move(kernel));
}

/// Why a row that names these dtypes cannot do a problem with operands of those.
std::optional<std::string> dtypes_missing(DTypeMask named, DTypeMask operands);

/// The first kernel that can do the problem. Throws kUnsupported with every reason when there is none.
template <class Problem>
const Kernel<Problem>& choose_kernel(const Problem& problem, DeviceType device, const char* op) {
  const auto reason_against = [&](const Kernel<Problem>& kernel) -> std::optional<std::string> {
    if (passed_over(kernel.info)) return "another kernel was asked for by name";
    if (!kernel.info.unusable.empty()) return kernel.info.unusable;
    if (auto reason = kernel.reject(kernel, problem)) return reason;
    if constexpr (requires { operand_dtypes(problem); }) return dtypes_missing(kernel.info.dtypes, operand_dtypes(problem));
    return std::nullopt;
  };
  const std::vector<Kernel<Problem>>& kernels = kernels_of<Problem>(device);
  for (const Kernel<Problem>& kernel : kernels) {
    if (!reason_against(kernel)) return kernel;
  }
  Error error(ErrorCode::kUnsupported, std::string(op) + ": no kernel of this build can do this call on " + device_name(device));
  for (const Kernel<Problem>& kernel : kernels) error.rejected.push_back({kernel.info.name, reason_against(kernel).value_or("")});
  for (const Error::Rejection& r : error.rejected) error.message += "\n  " + r.kernel + ": " + r.reason;
  throw error;
}

}  // namespace attn
