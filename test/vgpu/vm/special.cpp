// Special registers. PTX ISA 10.
#include <string_view>

#include "runner.h"

namespace vgpu {
namespace {

/// Whether `name` is `prefix` and an axis; then its value is in `out`.
bool axis(const std::string& name, std::string_view prefix, const u32 (&values)[3], u64& out) {
  if (name.size() != prefix.size() + 1 || name.compare(0, prefix.size(), prefix) != 0 || name.back() < 'x' || name.back() > 'z') return false;
  out = values[name.back() - 'x'];
  return true;
}

}  // namespace

u64 special_register(const Block& block, u32 warp, u32 lane, const std::string& name) {
  const Launch& launch = *block.launch;
  const u32 thread = warp * 32 + lane;
  const u32 tid[3] = {thread % launch.block[0], thread / launch.block[0] % launch.block[1], thread / launch.block[0] / launch.block[1]};
  u32 in_cluster[3], cluster[3], clusters[3];
  for (int n = 0; n < 3; n++) {
    in_cluster[n] = block.coordinates[n] % launch.cluster[n];
    cluster[n] = block.coordinates[n] / launch.cluster[n];
    clusters[n] = launch.grid[n] / launch.cluster[n];
  }
  u64 out = 0;
  if (axis(name, "%tid.", tid, out) || axis(name, "%ntid.", launch.block, out) || axis(name, "%ctaid.", block.coordinates, out) ||
      axis(name, "%nctaid.", launch.grid, out) || axis(name, "%cluster_ctaid.", in_cluster, out) || axis(name, "%cluster_nctaid.", launch.cluster, out) ||
      axis(name, "%clusterid.", cluster, out) || axis(name, "%nclusterid.", clusters, out))
    return out;
  if (name == "%laneid") return lane;
  if (name == "%warpid") return warp;
  if (name == "%nwarpid") return block.warps.size();
  if (name == "%cluster_ctarank") return block.rank;
  if (name == "%cluster_nctarank") return block.cluster->blocks.size();
  if (name == "%is_explicit_cluster") return launch.function->cluster[0] != 0 || block.cluster->blocks.size() > 1;
  if (name == "%lanemask_eq") return u32{1} << lane;
  if (name == "%lanemask_lt") return (u32{1} << lane) - 1;
  if (name == "%lanemask_le") return (u64{2} << lane) - 1;
  if (name == "%lanemask_gt") return static_cast<u32>(~((u64{2} << lane) - 1));
  if (name == "%lanemask_ge") return static_cast<u32>(~((u32{1} << lane) - 1));
  if (name == "%dynamic_smem_size") return launch.dynamic_shared;
  if (name == "_") return 0;
  throw std::runtime_error("PTX: unknown special register " + name);
}

}  // namespace vgpu
