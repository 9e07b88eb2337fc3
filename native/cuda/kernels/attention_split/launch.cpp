// Decoding on tensor cores with split keys: the registry row, and the choice of the tile.

#include <limits>

#include "core/registry.h"
#include "cuda/kernels/attention_split/plan.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/kernels/rows.h"

namespace attn::cuda {
namespace {

constexpr const char* kOp = "attention_split";

using NamedSplitTile = NamedTile<SplitTile>;
constexpr NamedSplitTile kTiles[] = {ATTN_ATTENTION_SPLIT_TILES(ATTN_NAMED_TILE)};

/// The narrowest tile that holds the features; of 16 rows where these hold all, else of 64.
const NamedSplitTile* tile_for(const AttentionProblem& p) {
  const int rows = max_rows(p) <= 16 ? 16 : 64;
  for (const NamedSplitTile& named : kTiles) {
    if (named.tile.rows() == rows && named.tile.dim_qk >= p.head_dim_qk && named.tile.dim_vo >= p.head_dim_vo) return &named;
  }
  return nullptr;
}

std::optional<std::string> reject(const Kernel<AttentionProblem>&, const AttentionProblem& p) {
  if (auto reason = split_shape_missing(p)) return reason;
  if (auto reason = split_inputs_missing(p)) return reason;
  const NamedSplitTile* named = tile_for(p);
  if (!named) return "takes head dims up to 256";
  if (auto reason = shared_memory_missing(named->tile.shared_bytes())) return reason;
  if (split_blocks(p, named->tile.rows()) > std::numeric_limits<std::int32_t>::max()) return "more blocks than a launch can have";
  return std::nullopt;
}

void run(const Kernel<AttentionProblem>&, const AttentionProblem& p, Execution& execution) {
  const NamedSplitTile* named = tile_for(p);
  run_split(p, kOp, named->name, named->tile, static_cast<CudaExecution&>(execution));
}

}  // namespace

void register_attention_split_kernels() {
  register_kernel(split_kernel<AttentionProblem>(sm80_kernel("attention_split", "attention", kSplitDTypes, "8-256"), reject, run));
}

}  // namespace attn::cuda
