// Absorbed MLA on tensor cores with split keys: the registry row, and the choice of the tile by rows and shared memory.

#include <limits>

#include "core/registry.h"
#include "cuda/kernels/attention_split/plan.h"
#include "cuda/kernels/mla_decode/latent_launch.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/kernels/rows.h"

namespace attn::cuda {
namespace {

constexpr const char* kOp = "mla_decode";

using NamedSplitTile = NamedTile<SplitTile>;
constexpr NamedSplitTile kTiles[] = {ATTN_MLA_DECODE_TILES(ATTN_NAMED_TILE)};  // from most rows to fewest
constexpr const NamedSplitTile& kSmallest = kTiles[std::size(kTiles) - 1];

/// The tile with the fewest rows that holds all, else the one with the most rows that the device's shared memory allows.
const NamedSplitTile& tile_for(const AttentionProblem& p, int shared_bytes) {
  const NamedSplitTile* best = &kSmallest;
  for (const NamedSplitTile& named : kTiles) {
    if (named.tile.shared_bytes() > shared_bytes) continue;
    if (best == &kSmallest || named.tile.rows() >= max_rows(p)) best = &named;
  }
  return *best;
}

std::optional<std::string> reject(const Kernel<MlaDecodeProblem>&, const MlaDecodeProblem& p) {
  if (auto reason = split_inputs_missing(p)) return reason;
  if (p.head_dim_vo > kSmallest.tile.dim_vo || p.head_dim_qk > kSmallest.tile.dim_qk) {
    return "takes kvLoraRank up to " + std::to_string(kSmallest.tile.dim_vo) + " and rows up to " + std::to_string(kSmallest.tile.dim_qk);
  }
  if (auto reason = shared_memory_missing(kSmallest.tile.shared_bytes())) return reason;
  if (split_blocks(p, kSmallest.tile.rows()) > std::numeric_limits<std::int32_t>::max()) return "more blocks than a launch can have";
  return std::nullopt;
}

void run(const Kernel<MlaDecodeProblem>&, const MlaDecodeProblem& p, Execution& execution) {
  auto& gpu = static_cast<CudaExecution&>(execution);
  const NamedSplitTile& named = tile_for(p, gpu.device().max_shared_per_block);
  run_split(p, kOp, named.name, named.tile, gpu);
}

}  // namespace

void register_mla_decode_kernels() {
  register_kernel(latent_kernel());
  register_kernel(split_kernel<MlaDecodeProblem>(sm80_kernel("mla_decode", "mlaDecode", kSplitDTypes, "8-512"), reject, run));
}

}  // namespace attn::cuda
