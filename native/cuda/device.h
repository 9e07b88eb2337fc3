#pragma once
// The CUDA devices: the primary context of each, and the one in-order stream that this process has on it.
//
// One stream per device, and not one per worker thread: finalizers of JavaScript free memory on whatever thread they run, and work
// that was enqueued first runs first whoever enqueued it, as on the CPU. Nothing needs an event between streams.

#include "core/backend.h"
#include "cuda/driver.h"
#include "cuda/launch.h"

namespace attn::cuda {

/// How many devices the driver has; 0 where it cannot be used.
int count_gpus();

/// Ten times the major version plus the minor one, of a device that need not be open.
int capability_of(int index);

/// Opens a device, once. Returns why it cannot be used; with no reason when it can.
Refusal open_device(int index);

/// Makes a device current on this thread: its context, and what the functions below speak of. Throws Error (kCuda) when it is lost.
void enter_device(int index);

/// Throws Error (kCuda) unless `result` is CUDA_SUCCESS. After a sticky error the current device is lost.
void check(CUresult result, const char* what);

/// Why a device is lost: CUDA's name of the error and what met it. Empty while it works.
std::string lost_reason(int index);

int current_device();
CUstream stream();
CUmemoryPool memory_pool();

}  // namespace attn::cuda
