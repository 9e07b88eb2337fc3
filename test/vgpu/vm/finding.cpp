// The text of a finding: what, where, and by whom.
#include <cstdio>

#include "warp.h"

namespace vgpu {

std::string where(const Launch& launch, const Instruction& i) {
  const auto& files = *launch.function->files;
  const auto found = files.find(i.file);
  std::string file = found == files.end() ? "?" : found->second;
  if (const auto slash = file.rfind('/'); slash != std::string::npos) file = file.substr(slash + 1);
  return file + ":" + std::to_string(i.line) + "  " + i.text;
}

void report(FindingKind kind, Warp& w, const Instruction& i, u32 lanes, const std::string& what) {
  const Block& block = *w.block;
  char head[256];
  std::snprintf(head, sizeof head, ", CTA (%u,%u,%u), warp %d, lanes 0x%x, seed %llu", block.coordinates[0], block.coordinates[1], block.coordinates[2],
                w.index, lanes, static_cast<unsigned long long>(block.launch->seed));
  throw Finding(kind, std::string(name_of(kind)) + " in " + block.launch->function->name + head + "\n  " + where(*block.launch, i) + "\n  " + what);
}

std::string hex(u64 value) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string describe(const Launch& launch, u64 address) {
  const GlobalAllocation* near = launch.memory->nearest(address);
  if (near == nullptr) return hex(address);
  return hex(address) + " = allocation " + hex(near->base) + " of " + std::to_string(near->bytes) + " bytes " +
         (address >= near->base ? "+ " + std::to_string(address - near->base) : "- " + std::to_string(near->base - address));
}

}  // namespace vgpu
