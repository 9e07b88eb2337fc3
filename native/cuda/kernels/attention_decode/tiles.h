#pragma once
// The tiles that decoding on sm_90a is compiled for: one list for host and device.

namespace attn::cuda {

struct DecodeTile {
  int dim;            // of queries, keys and values; narrower heads are filled up with zeros
  int rows;           // query rows: wgmma's N
  int stages;         // of the ring, each a tile of keys or of values
  int key_bytes;      // of an element of keys and values: 2, or 1 for e4m3
  int blocks_per_sm;  // that registers and shared memory leave room for

  static constexpr int kKeys = 64;          // of a tile: wgmma's M
  static constexpr int kConsumerWarps = 4;  // a warpgroup; the warp after it copies
  static constexpr int kThreads = 32 * (kConsumerWarps + 1);
  static constexpr int kBoxRowBytes = 128;  // what the swizzle spans: of wider rows a tile has several boxes

  constexpr int box_features() const { return kBoxRowBytes / key_bytes; }
  constexpr int boxes() const { return (dim + box_features() - 1) / box_features(); }
  static constexpr int box_bytes() { return kKeys * kBoxRowBytes; }
  constexpr int tile_bytes() const { return boxes() * box_bytes(); }

  // Shared memory after the ring, in this order: what is swizzled starts at multiples of 1024.
  constexpr int queries_at() const { return stages * tile_bytes(); }                  // [dim / 64][rows][64], 16 bits
  constexpr int probabilities_at() const { return queries_at() + rows * dim * 2; }    // [rows][kKeys], 16 bits
  constexpr int maxima_at() const { return probabilities_at() + rows * kKeys * 2; }   // [kConsumerWarps][rows], at the end their sums
  constexpr int facts_at() const { return maxima_at() + kConsumerWarps * rows * 4; }  // [rows] RowFacts
  constexpr int scales_at() const { return facts_at() + rows * 16; }                  // [rows] of scores, where Products::kScaledRows
  constexpr int found_at() const { return scales_at() + rows * 4; }                   // [kConsumerWarps]
  constexpr int barriers_at() const { return found_at() + kConsumerWarps * 4; }       // full [stages], empty [stages]
  constexpr int shared_bytes() const { return barriers_at() + 2 * stages * 8; }
};

/// The same as constants, which device code may use.
template <DecodeTile kTile>
struct DecodeLayout {
  static constexpr int kBoxFeatures = kTile.box_features(), kBoxBytes = kTile.box_bytes(), kBoxes = kTile.boxes(), kTileBytes = kTile.tile_bytes();
  static constexpr int kQueriesAt = kTile.queries_at(), kProbabilitiesAt = kTile.probabilities_at(), kMaximaAt = kTile.maxima_at();
  static constexpr int kFactsAt = kTile.facts_at(), kScalesAt = kTile.scales_at(), kFoundAt = kTile.found_at(), kBarriersAt = kTile.barriers_at();
};

// Rings as deep as shared memory allows: two blocks of up to 113 KiB share a multiprocessor, or one of up to 227 KiB has it alone, where two would
// leave too few registers for the accumulators. Of 256 features 64 rows would not fit one either.
//   name, features, rows, stages, key bytes, blocks per multiprocessor
#define ATTN_DECODE_TILES_16(X)  \
  X(d64_r8, 64, 8, 12, 2, 2)     \
  X(d64_r16, 64, 16, 12, 2, 2)   \
  X(d64_r64, 64, 64, 11, 2, 2)   \
  X(d128_r8, 128, 8, 6, 2, 2)    \
  X(d128_r16, 128, 16, 6, 2, 2)  \
  X(d128_r64, 128, 64, 12, 2, 1) \
  X(d256_r8, 256, 8, 6, 2, 1)    \
  X(d256_r16, 256, 16, 6, 2, 1)  \
  X(d256_r32, 256, 32, 6, 2, 1)

// Keys and values in e4m3. 64 features take boxes of 128 bytes all the same: half of them is filled with zeros.
#define ATTN_DECODE_TILES_8(X)   \
  X(d64_r8, 64, 8, 12, 1, 2)     \
  X(d64_r16, 64, 16, 12, 1, 2)   \
  X(d64_r64, 64, 64, 11, 1, 2)   \
  X(d128_r8, 128, 8, 12, 1, 2)   \
  X(d128_r16, 128, 16, 12, 1, 2) \
  X(d128_r64, 128, 64, 20, 1, 1) \
  X(d256_r8, 256, 8, 6, 1, 2)    \
  X(d256_r16, 256, 16, 6, 1, 2)  \
  X(d256_r32, 256, 32, 11, 1, 1)

}  // namespace attn::cuda
