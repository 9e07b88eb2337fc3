#pragma once
// cuBLASLt, opened at run time where it is installed. Its header comes with the library and not with the compiler of kernels, so the
// part of its interface that is used is declared here, after NVIDIA's documentation of cublasLt.h; versions 12 and 13 share it.

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace attn::cuda {

namespace blas {

using Status = int;  // 0: success
using Object = void*;

enum DataType : int { kFloat32 = 0, kFloat16 = 2, kBFloat16 = 14 };
inline constexpr int kComputeFloat32 = 68;
inline constexpr std::int32_t kTranspose = 1;
inline constexpr std::uint32_t kEpilogueBias = 4;
/// Partial sums meet in the workspace, in float32 and in fixed order. Sums without splits are always allowed.
inline constexpr std::uint32_t kReductionInFloat32 = 2;

enum ProductAttribute : int { kTransposeA = 3, kEpilogue = 7, kBiasPointer = 8 };
enum LayoutAttribute : int { kBatchCount = 5, kBatchStride = 6 };
enum PreferenceAttribute : int { kMostWorkspace = 1, kReductionMask = 3, kAlignmentA = 5, kAlignmentB = 6, kAlignmentC = 7, kAlignmentD = 8 };

struct Algorithm {
  std::uint64_t data[8];
};
struct Choice {
  Algorithm algorithm;
  std::size_t workspace_bytes;
  Status state;
  float waves;
  int reserved[4];
};

}  // namespace blas

/// The library's functions. Matrices are column after column.
struct CublasLt {
  blas::Status (*cublasLtCreate)(blas::Object* handle);
  blas::Status (*cublasLtMatmulDescCreate)(blas::Object* product, int compute_type, int scale_type);
  blas::Status (*cublasLtMatmulDescSetAttribute)(blas::Object product, int attribute, const void* value, std::size_t bytes);
  blas::Status (*cublasLtMatmulDescDestroy)(blas::Object product);
  blas::Status (*cublasLtMatrixLayoutCreate)(blas::Object* layout, int type, std::uint64_t rows, std::uint64_t columns, std::int64_t column_stride);
  blas::Status (*cublasLtMatrixLayoutSetAttribute)(blas::Object layout, int attribute, const void* value, std::size_t bytes);
  blas::Status (*cublasLtMatrixLayoutDestroy)(blas::Object layout);
  blas::Status (*cublasLtMatmulPreferenceCreate)(blas::Object* preference);
  blas::Status (*cublasLtMatmulPreferenceSetAttribute)(blas::Object preference, int attribute, const void* value, std::size_t bytes);
  blas::Status (*cublasLtMatmulPreferenceDestroy)(blas::Object preference);
  blas::Status (*cublasLtMatmulAlgoGetHeuristic)(blas::Object handle, blas::Object product, blas::Object a, blas::Object b, blas::Object c, blas::Object d,
                                                 blas::Object preference, int wanted, blas::Choice* choices, int* found);
  blas::Status (*cublasLtMatmul)(blas::Object handle, blas::Object product, const void* alpha, const void* a, blas::Object a_layout, const void* b,
                                 blas::Object b_layout, const void* beta, const void* c, blas::Object c_layout, void* d, blas::Object d_layout,
                                 const blas::Algorithm* algorithm, void* workspace, std::size_t workspace_bytes, CUstream stream);
};

/// The library, opened once; null where it is not installed, or NODE_FLASH_ATTENTION_CUBLASLT=off.
const CublasLt* cublaslt();

/// The library's handle on the current device, made once. Null where it does not start there: `reason` says why.
blas::Object cublaslt_handle(std::string& reason);

}  // namespace attn::cuda
