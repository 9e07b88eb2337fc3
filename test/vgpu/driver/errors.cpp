// Names and texts of the results that this driver returns.
#include "state.h"

namespace {

struct Text {
  CUresult result;
  const char* name;
  const char* text;
};

#define VGPU_RESULT(name, text) \
  { name, #name, text }
constexpr Text kTexts[] = {
    VGPU_RESULT(CUDA_SUCCESS, "no error"),
    VGPU_RESULT(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    VGPU_RESULT(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    VGPU_RESULT(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    VGPU_RESULT(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
    VGPU_RESULT(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    VGPU_RESULT(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid"),
    VGPU_RESULT(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    VGPU_RESULT(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device"),
    VGPU_RESULT(CUDA_ERROR_INVALID_PTX, "a PTX JIT compilation failed"),
    VGPU_RESULT(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
    VGPU_RESULT(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    VGPU_RESULT(CUDA_ERROR_NOT_READY, "device not ready"),
    VGPU_RESULT(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
    VGPU_RESULT(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch"),
    VGPU_RESULT(CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address"),
    VGPU_RESULT(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
    VGPU_RESULT(CUDA_ERROR_UNKNOWN, "unknown error"),
};

const Text* text_of(CUresult result) {
  for (const Text& text : kTexts) {
    if (text.result == result) {
      return &text;
    }
  }
  return nullptr;
}

}  // namespace

VGPU_EXPORT cuGetErrorName(CUresult result, const char** name) {
  const Text* text = text_of(result);
  *name = text == nullptr ? nullptr : text->name;
  return text == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

VGPU_EXPORT cuGetErrorString(CUresult result, const char** string) {
  const Text* text = text_of(result);
  *string = text == nullptr ? nullptr : text->text;
  return text == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
