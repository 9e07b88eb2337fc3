#pragma once
// The host's half of the split-KV kernels: what they take, how keys are split, workspace and launches. Used by attention_split, mla_decode and attention_decode.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "core/attention.h"
#include "core/registry.h"
#include "cuda/kernels/attention_split/params.h"
#include "cuda/kernels/attention_split/tiles.h"
#include "cuda/launch.h"

namespace attn::cuda {

inline constexpr DTypeMask kSplitDTypes = mask_of(DType::kFloat16) | mask_of(DType::kBFloat16);

/// A line of a table of tiles: the kernel's name ends in `name`.
template <class Tile>
struct NamedTile {
  const char* name;
  Tile tile;
};
#define ATTN_NAMED_TILE(name, ...) {#name, {__VA_ARGS__}},

/// Query rows of a kv head in the longest sequence: each query with each head of the group.
std::int64_t max_rows(const AttentionProblem& problem);

/// Why attention's problem is none for split keys: parts, or too many rows.
std::optional<std::string> split_shape_missing(const AttentionProblem& problem);

/// Why no split-KV kernel reads these queries, keys and values: element types, adjacency, alignment. Nothing when they do.
std::optional<std::string> split_inputs_missing(const AttentionProblem& problem);

/// Keys per split: a constant of the head counts. A sequence is so cut in the same places whatever its length, the batch
/// around it and the device, and its result keeps its bits. Where few kv heads give few blocks, splits are shorter.
std::int64_t split_len(const AttentionProblem& problem);
std::int64_t num_splits(const AttentionProblem& problem);

/// Blocks of the split kernel; a launch takes up to 2³¹ - 1.
std::int64_t split_blocks(const AttentionProblem& problem, int tile_rows);

std::size_t split_workspace(const AttentionProblem& problem);
/// For so many pieces of one kv head in the place of splits.
std::size_t pieces_workspace(const AttentionProblem& problem, std::int64_t pieces);

/// What the kernels get: the problem with its host arrays uploaded, and where in the workspace partial results lie (of `pieces`, unless 0).
SplitParams split_params(const AttentionProblem& problem, int tile_rows, CudaExecution& gpu, std::int64_t pieces = 0);

/// The combine kernels give a warp to a row of the output.
inline constexpr unsigned kCombineRows = 4;  // of a block
/// Their blocks; 0 when there is no output.
std::int64_t combine_grid(const AttentionProblem& problem);

/// Kernels are named <op>_<f16 or bf16>_<tile> and <op>_<f16 or bf16>_combine.
void run_split(const AttentionProblem& problem, const char* op, const std::string& tile_name, const SplitTile& tile, CudaExecution& gpu);

/// The row of the registry of a kernel that splits keys as above.
template <class Problem>
Kernel<Problem> split_kernel(KernelInfo info, decltype(Kernel<Problem>::reject) reject, decltype(Kernel<Problem>::run) run) {
  Kernel<Problem> kernel;
  kernel.info = std::move(info);
  kernel.reject = reject;
  kernel.workspace = [](const Kernel<Problem>&, const Problem& problem, int) { return split_workspace(problem); };
  kernel.run = run;
  kernel.splits = [](const Kernel<Problem>&, const Problem& problem) { return num_splits(problem); };
  return kernel;
}

}  // namespace attn::cuda
