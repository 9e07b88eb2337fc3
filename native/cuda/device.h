#pragma once
// The first CUDA device: its primary context, and the one in-order stream of this process.
//
// One stream, and not one per worker thread: finalizers of JavaScript free memory on whatever thread they run, and work that
// was enqueued first runs first whoever enqueued it, as on the CPU. Nothing needs an event between streams.

#include "cuda/driver.h"
#include "cuda/launch.h"

namespace attn::cuda {

/// Opens the device, once. Returns why it cannot be used; empty when it can.
const std::string& open_device();

/// Throws Error (kCuda) unless `result` is CUDA_SUCCESS. After a sticky error the device is lost.
void check(CUresult result, const char* what);

/// Makes the device's context current on this thread. Throws Error (kCuda) when the device is lost.
void enter_device();

/// Why the device is lost: CUDA's name of the error and what met it. Empty while it works.
std::string lost_reason();

CUstream stream();
CUmemoryPool memory_pool();

}  // namespace attn::cuda
