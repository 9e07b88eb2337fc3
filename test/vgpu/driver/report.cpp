#include "report.h"

#include <cstdio>

#include "environment.h"

namespace vgpu::driver {
namespace {

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string field(const char* name, std::uint64_t value) { return std::string(",\"") + name + "\":" + std::to_string(value); }

std::string triple(const std::uint32_t (&v)[3]) { return "[" + std::to_string(v[0]) + "," + std::to_string(v[1]) + "," + std::to_string(v[2]) + "]"; }

}  // namespace

void write_report(const LaunchReport& r) {
  const std::string& path = environment().report;
  if (path.empty()) return;
  const Counters& c = r.counters;
  std::string line = "{\"kernel\":" + quoted(r.kernel) + ",\"device\":" + std::to_string(r.device) + ",\"grid\":" + triple(r.shape.grid) +
                     ",\"block\":" + triple(r.shape.block);
  line += field("dynamicShared", r.shape.dynamic_shared) + field("warpInstructions", c.warp_instructions) + field("globalLoadedBytes", c.global_loaded_bytes);
  line += field("globalStoredBytes", c.global_stored_bytes) + field("globalSectors", c.global_sectors) + field("cpAsyncBytes", c.cp_async_bytes);
  line += field("sharedPhases", c.shared_phases) + field("sharedWays", c.shared_ways) + field("mmaFlops", c.mma_flops) + field("barriers", c.barriers);
  line += field("wgmmas", c.wgmmas) + field("wgmmaFlops", c.wgmma_flops);
  line += field("tmaCopies", c.tma_copies) + field("tmaBytes", c.tma_bytes) + field("mbarrierWaits", c.mbarrier_waits);
  line += ",\"instructions\":{";
  const char* comma = "";
  for (const auto& [opcode, count] : c.instructions) {
    line += comma + quoted(opcode) + ":" + std::to_string(count);
    comma = ",";
  }
  line += "},\"traffic\":[";
  comma = "";
  for (const auto& [base, t] : c.traffic) {
    line +=
        std::string(comma) + "{\"address\":" + std::to_string(base) + field("loadedBytes", t.loaded_bytes) + field("uniqueLoadedBytes", t.unique_loaded_bytes);
    line += field("storedBytes", t.stored_bytes) + field("uniqueStoredBytes", t.unique_stored_bytes) + "}";
    comma = ",";
  }
  line += "]";
  if (!r.finding.empty()) line += ",\"finding\":" + quoted(r.finding) + ",\"text\":" + quoted(r.text);
  line += "}\n";
  if (std::FILE* file = std::fopen(path.c_str(), "a")) {
    std::setvbuf(file, nullptr, _IONBF, 0);  // one write per line: processes side by side share the file
    std::fwrite(line.data(), 1, line.size(), file);
    std::fclose(file);
  }
}

}  // namespace vgpu::driver
