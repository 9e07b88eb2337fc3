// Tile products of bfloat16 (AMX), C += A · B with A [16, 32] and B [32, 16], in more independent tiles C than one product has
// latency over throughput: 52 cycles over 16 (Intel's optimization manual, chapter on AMX). Each row of A is (1, 0, 0, …) and B is
// all ones, so that every element of C counts the products that reached it. The loads of A and B are outside of the loop.

#include "cpu/kernels/probe_tile.h"

#include "cpu/isa.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace attn::cpu {

#if defined(__x86_64__) && defined(__linux__)

namespace {

constexpr int kTiles = 6, kRows = 16, kRowBytes = 64;
static_assert(kTiles * kRows * kRowBytes / 4 == kTileSteps);

/// The layout that ldtilecfg reads.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

const char* missing() {
  if (const char* reason = isa_missing("avx512")) return reason;
  unsigned a, b, c, d;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kBf16) == 0 || (d & kTile) == 0) return "the processor has no tile products of bfloat16";
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA: of the whole process
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0) return "the system gives no leave to use tiles";
  return nullptr;
}

}  // namespace

const char* bf16_tile_missing() {
  static const char* reason = missing();
  return reason;
}

__attribute__((target("amx-tile,amx-bf16"))) double bf16_tile(std::int64_t rounds) {
  TileConfig config;
  for (int tile = 0; tile < kTiles + 2; ++tile) {
    config.row_bytes[tile] = kRowBytes;
    config.rows[tile] = kRows;
  }
  // Pairs of bfloat16, 1 in the lower half and in both.
  alignas(64) std::uint32_t left[kRows][kRowBytes / 4] = {}, right[kRows][kRowBytes / 4];
  alignas(64) float counts[kTiles][kRows][kRowBytes / 4];
  for (int row = 0; row < kRows; ++row) {
    left[row][0] = 0x00003f80;
    for (std::uint32_t& pair : right[row]) pair = 0x3f803f80;
  }
  _tile_loadconfig(&config);
  _tile_loadd(6, left, kRowBytes);
  _tile_loadd(7, right, kRowBytes);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  for (std::int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 6, 7);
    _tile_dpbf16ps(1, 6, 7);
    _tile_dpbf16ps(2, 6, 7);
    _tile_dpbf16ps(3, 6, 7);
    _tile_dpbf16ps(4, 6, 7);
    _tile_dpbf16ps(5, 6, 7);
  }
  _tile_stored(0, counts[0], kRowBytes);
  _tile_stored(1, counts[1], kRowBytes);
  _tile_stored(2, counts[2], kRowBytes);
  _tile_stored(3, counts[3], kRowBytes);
  _tile_stored(4, counts[4], kRowBytes);
  _tile_stored(5, counts[5], kRowBytes);
  // The system saves tiles with every switch of threads until they are given back.
  _tile_release();
  double sum = 0;
  for (const auto& tile : counts) {
    for (const auto& row : tile) {
      for (float count : row) sum += static_cast<double>(count);
    }
  }
  return sum;
}

#else

const char* bf16_tile_missing() { return "tile products of bfloat16 are used on x86-64 under Linux only"; }
double bf16_tile(std::int64_t) { return 0; }

#endif

}  // namespace attn::cpu
