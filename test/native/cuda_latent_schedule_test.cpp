// How plans for MLA decoding on CUDA share keys among processors. Host code only.

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "check.h"
#include "cuda/kernels/mla_decode/latent_schedule.h"

namespace attn::test {
namespace {

using cuda::LatentPiece;
using cuda::LatentSchedule;

std::int64_t tiles_of_piece(const LatentPiece& piece, const std::vector<std::int32_t>& kv_lens) {
  const std::int64_t tiles = (kv_lens[static_cast<std::size_t>(piece.sequence)] + 63) / 64;
  return (piece.end_tile == LatentPiece::kOpen ? tiles : piece.end_tile) - piece.first_tile;
}

/// Every tile of every sequence once, in order, the last piece open.
void check_covers(const LatentSchedule& schedule, const std::vector<std::int32_t>& kv_lens) {
  CHECK_EQUAL(schedule.sequence_begins.size(), kv_lens.size() + 1);
  CHECK_EQUAL(schedule.part_begins.front(), 0);
  CHECK_EQUAL(static_cast<std::size_t>(schedule.part_begins.back()), schedule.pieces.size());
  CHECK(std::is_sorted(schedule.part_begins.begin(), schedule.part_begins.end()));
  for (std::size_t b = 0; b < kv_lens.size(); ++b) {
    const auto begin = static_cast<std::size_t>(schedule.sequence_begins[b]), end = static_cast<std::size_t>(schedule.sequence_begins[b + 1]);
    CHECK(begin < end);
    std::int64_t next = 0;
    for (std::size_t n = begin; n < end; ++n) {
      const LatentPiece& piece = schedule.pieces[n];
      CHECK_EQUAL(static_cast<std::size_t>(piece.sequence), b);
      CHECK_EQUAL(piece.first_tile, next);
      CHECK_EQUAL(piece.end_tile == LatentPiece::kOpen, n + 1 == end);
      next = piece.end_tile;
    }
  }
}

TEST(cuda_latent_schedules_cover_every_key_in_like_parts) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::int32_t> kv_lens(1 + random() % 40);
    std::int64_t cost = 0;
    for (std::int32_t& len : kv_lens) {
      len = static_cast<std::int32_t>(random() % 5 == 0 ? random() % 3 : random() % 20000);
      cost += (len + 63) / 64 + cuda::kPieceCost;
    }
    const std::int64_t parts = 1 + random() % 140;
    const LatentSchedule schedule = cuda::schedule_latents(kv_lens, parts);
    check_covers(schedule, kv_lens);
    CHECK(static_cast<std::int64_t>(schedule.part_begins.size()) - 1 <= parts);
    std::int64_t most = 0;
    for (std::size_t part = 0; part + 1 < schedule.part_begins.size(); ++part) {
      std::int64_t used = 0;
      for (auto n = schedule.part_begins[part]; n < schedule.part_begins[part + 1]; ++n) {
        used += tiles_of_piece(schedule.pieces[static_cast<std::size_t>(n)], kv_lens) + cuda::kPieceCost;
      }
      most = std::max(most, used);
    }
    // A part ends up to two pieces' cost early, and a cut costs one: no part is much above the mean.
    CHECK(most <= (cost + parts - 1) / parts + 3 * cuda::kPieceCost);
    const LatentSchedule again = cuda::schedule_latents(kv_lens, parts);
    CHECK(again.part_begins == schedule.part_begins && again.sequence_begins == schedule.sequence_begins);
  }
}

TEST(cuda_latent_schedules_cut_one_long_sequence_for_all_processors) {
  const LatentSchedule schedule = cuda::schedule_latents({64 * 1320}, 132);
  CHECK_EQUAL(schedule.part_begins.size(), std::size_t{133});
  CHECK_EQUAL(schedule.pieces.size(), std::size_t{132});
}

TEST(cuda_latent_schedules_do_not_cut_equal_sequences_that_fill_the_processors) {
  const LatentSchedule schedule = cuda::schedule_latents(std::vector<std::int32_t>(128, 4096), 128);
  CHECK_EQUAL(schedule.pieces.size(), std::size_t{128});
  CHECK_EQUAL(schedule.part_begins.size(), std::size_t{129});
}

}  // namespace
}  // namespace attn::test
