// What an access moves: sectors of global memory, and the cycles that shared memory takes.
#include <algorithm>

#include "warp.h"

namespace vgpu {

void count_shared(Warp& w, const u64* addresses, u32 lanes, u32 bytes) {
  // 32 banks of 4 bytes; lanes are served in groups of 32, 16 or 8, and equal words of a group at once.
  const int group = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  Counters& counters = *w.block->launch->counters;
  for (int first = 0; first < 32; first += group) {
    u64 words[32][8];
    int used[32] = {};
    int ways = 0;
    for (int lane = first; lane < first + group; lane++) {
      if ((lanes >> lane & 1) == 0) continue;
      for (u32 b = 0; b < std::max(bytes, 4u); b += 4) {
        const u64 word = (addresses[lane] + b) / 4;
        const auto bank = static_cast<std::size_t>(word % 32);
        u64* const end = words[bank] + std::min(used[bank], 8);
        if (std::find(words[bank], end, word) == end) {
          if (used[bank] < 8) words[bank][used[bank]] = word;
          ways = std::max(ways, ++used[bank]);
        }
      }
    }
    counters.shared_phases += ways > 0;
    counters.shared_ways += static_cast<u64>(ways);
  }
}

void count_global(Warp& w, const u64* addresses, u32 lanes, u32 bytes, bool store) {
  Counters& counters = *w.block->launch->counters;
  u64 sectors[64];
  int num_sectors = 0;
  for (int lane = 0; lane < 32; lane++) {
    if ((lanes >> lane & 1) == 0) continue;
    (store ? counters.global_stored_bytes : counters.global_loaded_bytes) += bytes;
    const u64 sector = addresses[lane] / 32;
    if (std::find(sectors, sectors + num_sectors, sector) == sectors + num_sectors) sectors[num_sectors++] = sector;
  }
  counters.global_sectors += static_cast<u64>(num_sectors);
}

}  // namespace vgpu
