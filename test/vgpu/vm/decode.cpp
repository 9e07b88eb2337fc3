// From an opcode to its handler.
#include <set>

#include "lanes.h"

namespace vgpu {

bool decode(Instruction& i, const std::vector<std::string>& parts) {
  static const std::set<std::string> memory = {"ld",    "st",  "atom",    "red",     "cvta",          "prefetch", "prefetchu", "membar",
                                               "fence", "bar", "barrier", "discard", "applypriority", "ldu",      "isspacep"};
  static const std::set<std::string> tensor = {"mma", "ldmatrix", "stmatrix", "movmatrix", "cp"};
  const auto has = [&](const char* part) { return std::find(parts.begin() + 1, parts.end(), part) != parts.end(); };
  const bool bulk = parts[0] == "cp" && (has("bulk") || has("mbarrier"));
  const bool fence = parts[0] == "fence" && (has("proxy") || has("mbarrier_init"));
  const bool cluster = (parts[0] == "barrier" && has("cluster")) || (parts[0] == "prefetch" && has("tensormap"));
  if (parts[0] == "mbarrier" || parts[0] == "griddepcontrol" || parts[0] == "mapa" || parts[0] == "getctarank" || bulk || fence || cluster)
    return decode_async(i, parts);
  if (memory.count(parts[0]) != 0) return decode_memory(i, parts);
  if (tensor.count(parts[0]) != 0) return decode_tensor(i, parts);
  if (parts[0] == "wgmma") return decode_wgmma(i, parts);
  if (parts[0] == "setmaxnreg") return decode_setmaxnreg(i, parts);
  const Mods m{parts};
  if (parts[0] == "mov") {
    i.run = decode_mov(i, m);
  } else if (parts[0] == "setp") {
    i.run = decode_setp(i, m);
  } else if (parts[0] == "cvt") {
    i.run = decode_cvt(i, m);
  } else if (parts[0] == "selp") {
    i.run = decode_selp();
  } else {
    i.run = decode_warp(i, m);
    if (i.run == nullptr) i.run = decode_bits(i, m);
    const std::string& t = m.type();
    const bool floating = t[0] == 'f' || t[0] == 'b';
    if (i.run == nullptr && parts.size() > 1) i.run = floating && t.find('f') != std::string::npos ? decode_float(i, m) : decode_integer(i, m);
  }
  return i.run != nullptr;
}

}  // namespace vgpu
