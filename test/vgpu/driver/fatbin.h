// The container nvcc puts device code in: finds the PTX that a device of a given compute capability may run.
#pragma once
#include <string>

namespace vgpu::driver {

enum class ImageError { kNone, kInvalidImage, kNoBinary, kInvalidPtx };

/// `image` is a fatbin, PTX text ending in NUL, or a cubin (which has no PTX: kNoBinary).
ImageError find_ptx(const void* image, int capability, std::string& ptx);

/// Whether code for `target` ("sm_80", "sm_90a", "sm_100f") may run on `capability`: plain targets run on it and on newer ones,
/// "a" targets on exactly it, "f" targets on the same major version from it on. PTX ISA, ".target".
bool target_fits(const std::string& target, int capability);

}  // namespace vgpu::driver
