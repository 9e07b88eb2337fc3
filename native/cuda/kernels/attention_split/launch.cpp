// Decoding on tensor cores with split keys: the registry row, and the choice of the tile.

#include <limits>

#include "core/registry.h"
#include "cuda/kernels/attention_split/plan.h"
#include "cuda/kernels/register_kernels.h"

namespace attn::cuda {
namespace {

constexpr const char* kOp = "attention_split";

struct NamedTile {
  const char* name;
  SplitTile tile;
};
#define ATTN_NAMED(name, ...) {#name, SplitTile{__VA_ARGS__}},
constexpr NamedTile kTiles[] = {ATTN_ATTENTION_SPLIT_TILES(ATTN_NAMED)};
#undef ATTN_NAMED

/// With more rows the prefill kernel's larger tiles read keys less often,
constexpr std::int64_t kMaxRows = 64;
/// unless the rows are heads of this few queries: then the keys must be split to fill the device.
constexpr std::int64_t kFewQueries = 4;

std::int64_t rows_of(const AttentionProblem& p) { return p.qo_len * p.group_size; }

/// The narrowest tile that holds the features; of 16 rows where these hold all, else of 64.
const NamedTile* tile_for(const AttentionProblem& p) {
  const int rows = rows_of(p) <= 16 ? 16 : 64;
  for (const NamedTile& named : kTiles) {
    if (named.tile.rows() == rows && named.tile.dim_qk >= p.head_dim_qk && named.tile.dim_vo >= p.head_dim_vo) return &named;
  }
  return nullptr;
}

std::optional<std::string> reject(const Kernel<AttentionProblem>&, const AttentionProblem& p) {
  if (p.num_parts != 1 || p.v_in_k) return "takes queries and keys of one part";
  if (rows_of(p) > kMaxRows && p.qo_len > kFewQueries) {
    return "takes up to " + std::to_string(kMaxRows) + " query rows per kv head, or " + std::to_string(kFewQueries) + " queries, received " +
           std::to_string(rows_of(p)) + " rows";
  }
  if (auto reason = split_inputs_missing(p)) return reason;
  const NamedTile* named = tile_for(p);
  if (!named) return "takes head dims up to 256";
  if (auto reason = shared_memory_missing(named->tile.shared_bytes())) return reason;
  if (split_blocks(p, named->tile.rows()) > std::numeric_limits<std::int32_t>::max()) return "more blocks than a launch can have";
  return std::nullopt;
}

std::size_t workspace(const Kernel<AttentionProblem>&, const AttentionProblem& p, int) { return split_workspace(p); }

void run(const Kernel<AttentionProblem>&, const AttentionProblem& p, Execution& execution) {
  const NamedTile* named = tile_for(p);
  run_split(p, kOp, named->name, named->tile, static_cast<CudaExecution&>(execution));
}

std::int64_t splits(const Kernel<AttentionProblem>&, const AttentionProblem& p) { return num_splits(p); }

}  // namespace

void register_attention_split_kernels() {
  Kernel<AttentionProblem> kernel;
  kernel.info = {"attention_split_sm80", "attention", DeviceType::kCuda, "sm80", kSplitDTypes, "8-256", ""};
  kernel.reject = reject;
  kernel.workspace = workspace;
  kernel.run = run;
  kernel.splits = splits;
  register_kernel(std::move(kernel));
}

}  // namespace attn::cuda
