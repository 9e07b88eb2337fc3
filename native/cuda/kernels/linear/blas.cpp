// y = x · weightᵀ + bias by cuBLASLt. Its matrices lie column after column, so it is asked for yᵀ = weight · xᵀ: a is weight, [in_features,
// out_features] to its eyes and to be transposed, b is x, [in_features, rows], d is y, [out_features, rows].
//
// A plan is what depends on shapes alone: descriptions, and the algorithm that the library's heuristics name first. It is made
// once, since that takes longer than a launch; the same call gets the same algorithm, and so the same bits.

#include <array>
#include <map>
#include <memory>
#include <mutex>

#include "core/linear.h"
#include "cuda/cublaslt.h"
#include "cuda/device.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/kernels/rows.h"
#include "cuda/launch.h"

namespace attn::cuda {
namespace {

constexpr std::uint64_t kMostWorkspaceBytes = std::uint64_t{32} << 20;
constexpr std::size_t kMostPlans = 1024;
constexpr std::uint32_t kAlignment = 16;

using Owned = std::unique_ptr<void, blas::Status (*)(blas::Object)>;

struct Plan {
  Owned product, weight, x, y;
  blas::Choice choice;
};

/// Of row 0 alone there is no next one to be far away.
std::int64_t row_stride(std::int64_t stride, std::int64_t rows, std::int64_t width) { return rows > 1 ? stride : width; }

/// Throws Error (kCuda) unless `status` is 0: what is described was checked before.
void check_blas(blas::Status status, const char* what) {
  if (status == 0) return;
  throw Error(ErrorCode::kCuda, "cuda:" + std::to_string(current_device()) + ": " + what + " gave status " + std::to_string(status));
}

Owned layout_of(int type, std::int64_t width, std::int64_t rows, std::int64_t stride, std::int64_t batch, std::int64_t batch_stride) {
  const CublasLt& lt = *cublaslt();
  blas::Object layout = nullptr;
  check_blas(lt.cublasLtMatrixLayoutCreate(&layout, type, static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(rows), row_stride(stride, rows, width)),
             "cublasLtMatrixLayoutCreate");
  Owned owned(layout, lt.cublasLtMatrixLayoutDestroy);
  const std::int32_t count = static_cast<std::int32_t>(batch);
  check_blas(lt.cublasLtMatrixLayoutSetAttribute(layout, blas::kBatchCount, &count, sizeof count), "cublasLtMatrixLayoutSetAttribute");
  check_blas(lt.cublasLtMatrixLayoutSetAttribute(layout, blas::kBatchStride, &batch_stride, sizeof batch_stride), "cublasLtMatrixLayoutSetAttribute");
  return owned;
}

Owned product_of(bool bias) {
  const CublasLt& lt = *cublaslt();
  blas::Object product = nullptr;
  check_blas(lt.cublasLtMatmulDescCreate(&product, blas::kComputeFloat32, blas::kFloat32), "cublasLtMatmulDescCreate");
  Owned owned(product, lt.cublasLtMatmulDescDestroy);
  check_blas(lt.cublasLtMatmulDescSetAttribute(product, blas::kTransposeA, &blas::kTranspose, sizeof blas::kTranspose), "cublasLtMatmulDescSetAttribute");
  if (bias)
    check_blas(lt.cublasLtMatmulDescSetAttribute(product, blas::kEpilogue, &blas::kEpilogueBias, sizeof blas::kEpilogueBias), "cublasLtMatmulDescSetAttribute");
  return owned;
}

Owned preference() {
  const CublasLt& lt = *cublaslt();
  blas::Object made = nullptr;
  check_blas(lt.cublasLtMatmulPreferenceCreate(&made), "cublasLtMatmulPreferenceCreate");
  Owned owned(made, lt.cublasLtMatmulPreferenceDestroy);
  const auto set = [&](int attribute, const auto& value) {
    check_blas(lt.cublasLtMatmulPreferenceSetAttribute(made, attribute, &value, sizeof value), "cublasLtMatmulPreferenceSetAttribute");
  };
  set(blas::kMostWorkspace, kMostWorkspaceBytes);
  set(blas::kReductionMask, blas::kReductionInFloat32);
  for (int attribute : {blas::kAlignmentA, blas::kAlignmentB, blas::kAlignmentC, blas::kAlignmentD}) set(attribute, kAlignment);
  return owned;
}

/// Null where the library has no algorithm.
std::shared_ptr<const Plan> make_plan(blas::Object handle, const LinearProblem& p) {
  const int type = p.x.dtype == DType::kFloat16 ? blas::kFloat16 : blas::kBFloat16;
  auto plan = std::make_shared<Plan>(Plan{product_of(p.bias),
                                          layout_of(type, p.in_features, p.out_features, p.weight.row_stride, p.batch, p.weight.batch_stride),
                                          layout_of(type, p.in_features, p.rows, p.x.row_stride, p.batch, p.x.batch_stride),
                                          layout_of(type, p.out_features, p.rows, p.y.row_stride, p.batch, p.y.batch_stride),
                                          {}});
  const Owned wishes = preference();
  int found = 0;
  const blas::Status status = cublaslt()->cublasLtMatmulAlgoGetHeuristic(handle, plan->product.get(), plan->weight.get(), plan->x.get(), plan->y.get(),
                                                                         plan->y.get(), wishes.get(), 1, &plan->choice, &found);
  if (status != 0 || found == 0 || plan->choice.state != 0) return nullptr;
  return plan;
}

std::shared_ptr<const Plan> plan_of(blas::Object handle, const LinearProblem& p) {
  using Key = std::array<std::int64_t, 13>;
  static std::mutex mutex;
  static auto* plans = new std::map<Key, std::shared_ptr<const Plan>>;  // leaked: calls go on until the process ends
  const Key key = {current_device(),      static_cast<int>(p.x.dtype), p.bias != nullptr, p.batch,        p.rows,           p.in_features, p.out_features,
                   p.weight.batch_stride, p.weight.row_stride,         p.x.batch_stride,  p.x.row_stride, p.y.batch_stride, p.y.row_stride};
  std::lock_guard lock(mutex);
  if (const auto known = plans->find(key); known != plans->end()) return known->second;
  if (plans->size() >= kMostPlans) plans->clear();
  return (*plans)[key] = make_plan(handle, p);
}

/// Rows of at least `width` elements, one after the other, that all begin at multiples of 16 bytes.
bool has_plain_rows(const LinearProblem::Matrix& m, std::int64_t rows, std::int64_t width) {
  const std::int64_t stride = row_stride(m.row_stride, rows, width);
  return is_aligned(m.data, kAlignment) && stride >= width && stride % 8 == 0 && m.batch_stride % 8 == 0;
}

std::optional<std::string> reject(const Kernel<LinearProblem>&, const LinearProblem& p) {
  if (p.x.dtype != DType::kFloat16 && p.x.dtype != DType::kBFloat16) return "x must be float16 or bfloat16";
  if (p.weight.dtype != p.x.dtype || p.y.dtype != p.x.dtype) return "x, weight and out must have the same dtype";
  if (p.bias && p.bias_dtype != p.x.dtype) return "bias must have the dtype of x";
  if (p.batch == 0 || p.rows == 0 || p.out_features == 0 || p.in_features == 0) return "there is nothing to multiply";
  if (!has_plain_rows(p.x, p.rows, p.in_features) || !has_plain_rows(p.weight, p.out_features, p.in_features) || !has_plain_rows(p.y, p.rows, p.out_features)) {
    return "rows of x, weight and out must be aligned to 16 bytes and lie one after the other";
  }
  std::string reason;
  const blas::Object handle = cublaslt_handle(reason);
  if (!handle) return reason;
  if (!plan_of(handle, p)) return "cuBLASLt has no algorithm for it";
  return std::nullopt;
}

std::size_t workspace(const Kernel<LinearProblem>&, const LinearProblem& p, int) {
  std::string reason;
  const std::shared_ptr<const Plan> plan = plan_of(cublaslt_handle(reason), p);
  return plan ? plan->choice.workspace_bytes : 0;
}

void run(const Kernel<LinearProblem>&, const LinearProblem& p, Execution& execution) {
  std::string reason;
  const blas::Object handle = cublaslt_handle(reason);
  const std::shared_ptr<const Plan> plan = plan_of(handle, p);
  if (!plan) throw Error(ErrorCode::kInternal, "linear: the plan of a checked call is gone");
  static std::mutex mutex;  // threads share plans, and the bias is part of them
  std::lock_guard lock(mutex);
  if (p.bias) {
    check_blas(cublaslt()->cublasLtMatmulDescSetAttribute(plan->product.get(), blas::kBiasPointer, &p.bias, sizeof p.bias), "cublasLtMatmulDescSetAttribute");
  }
  const float one = 1, zero = 0;
  check_blas(
      cublaslt()->cublasLtMatmul(handle, plan->product.get(), &one, p.weight.data, plan->weight.get(), p.x.data, plan->x.get(), &zero, p.y.data, plan->y.get(),
                                 p.y.data, plan->y.get(), &plan->choice.algorithm, execution.workspace, plan->choice.workspace_bytes, stream()),
      "cublasLtMatmul");
}

}  // namespace

void register_linear_blas_kernels() {
  if (!cublaslt()) return;
  constexpr DTypeMask kHalfDTypes = mask_of(DType::kFloat16) | mask_of(DType::kBFloat16);
  register_kernel<LinearProblem>({.info = sm80_kernel("linear_cublaslt", "linear", kHalfDTypes, "-"), .reject = reject, .workspace = workspace, .run = run});
}

}  // namespace attn::cuda
