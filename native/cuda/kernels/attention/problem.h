#pragma once
// The host's half of AttentionParams: workspace and upload of the arrays that a problem keeps on the host.

#include <cstddef>

#include "core/attention.h"
#include "cuda/launch.h"

namespace attn::cuda {

/// Bytes at the start of the workspace, a multiple of 256.
std::size_t host_arrays_bytes(const AttentionProblem& problem);

/// Whether every row of every head is whole, aligned pieces of 16 bytes.
bool vector_rows(const HeadRows& rows);

/// The problem as the device may read it: uploads its host arrays to the start of the workspace.
AttentionProblem upload_problem(const AttentionProblem& problem, CudaExecution& gpu);

}  // namespace attn::cuda
