#pragma once
// The CUDA driver, opened at run time: the addon loads where there is none, and says what is missing.

#include <cuda.h>

#include <string>

#include "core/error.h"

namespace attn::cuda {

/// The driver's functions, filled by open_driver().
struct Driver {
#define ATTN_DRIVER(name, symbol) decltype(&::name) name = nullptr;
#include "cuda/driver_functions.def"
#undef ATTN_DRIVER
};

/// Opens libcuda.so.1 and initialises it, once. Returns why the driver cannot be used; empty when it can.
const std::string& open_driver();
const Driver& driver();

/// CUDA's own name of a result, such as CUDA_ERROR_ILLEGAL_ADDRESS.
std::string result_name(CUresult result);

/// Whether a result says that the context is beyond repair: every later call would fail with it.
bool is_sticky(CUresult result);

}  // namespace attn::cuda
