// The machine measurements do as many operations as they say, and read every word.

#include "core/probe.h"

#include "check.h"
#include "cpu/kernels/probe_tile.h"
#include "ops_support.h"

namespace attn::test {
namespace {

Tensor words(std::int64_t count, std::uint32_t factor) {
  std::vector<double> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(i + 1) * factor);
  return make_tensor(DType::kInt32, {count}, values);
}

/// Calls fn(name) with each probe of an instruction set alone in the list: they are no kernels, so they cannot be forced by name.
void for_each_probe(const std::function<void(const std::string&)>& fn) {
  register_test_kernels();
  std::vector<Kernel<ProbeProblem>>& rows = kernels_of<ProbeProblem>(DeviceType::kCpu);
  const std::vector<Kernel<ProbeProblem>> all = rows;
  for (const Kernel<ProbeProblem>& row : all) {
    if (!row.info.unusable.empty() || row.reject(row, {})) continue;
    rows = {row};
    fn(row.info.name);
  }
  rows = all;
}

}  // namespace

TEST(probe_counts_its_multiply_adds) {
  for_each_probe([](const std::string& name) {
    for (int threads : {1, inline_backend().num_threads()}) {
      for (std::int64_t rounds : {std::int64_t{1}, std::int64_t{1000}, kMaxProbeRounds}) {
        const auto result = probe(inline_backend(), ProbeKind::kMultiplyAdd, threads, rounds, nullptr);
        CHECK(result->work > 0);
        CHECK(result->seconds > 0 && result->seconds < 60);
        // Counted by the additions themselves, exactly: a loop that was folded or cut short would differ.
        CHECK_NEAR_IN(name, result->checksum, result->work, 0);
      }
      const auto one = probe(inline_backend(), ProbeKind::kMultiplyAdd, threads, 1, nullptr),
                 many = probe(inline_backend(), ProbeKind::kMultiplyAdd, threads, 77, nullptr);
      CHECK_EQUAL(many->work, 77 * one->work);
    }
  });
}

TEST(probe_reads_every_word_in_every_pass) {
  for_each_probe([](const std::string& name) {
    for (std::int64_t count : {1, 2, 63, 1000, 100'003}) {
      const Tensor buffer = words(count, 2654435761u);
      std::uint32_t sum = 0;
      for (std::int64_t i = 1; i <= count; ++i) sum += static_cast<std::uint32_t>(i) * 2654435761u;
      for (std::uint32_t passes : {1u, 3u}) {
        const auto result = probe(inline_backend(), ProbeKind::kRead, inline_backend().num_threads(), passes, &buffer);
        CHECK_NEAR_IN(name + " of " + std::to_string(count), result->checksum, static_cast<double>(sum * passes), 0);
        CHECK_EQUAL(result->work, static_cast<double>(count) * 4 * passes);
      }
    }
  });
}

TEST(probe_counts_its_bf16_dot_products_or_says_why_not) {
  std::shared_ptr<const ProbeResult> result;
  const std::string refusal = error_of([&] { result = probe(inline_backend(), ProbeKind::kBf16Dot, 1, 1000, nullptr); });
#ifdef __x86_64__
  const bool expected = __builtin_cpu_supports("avx512bf16") && std::string(kernels_of<ProbeProblem>(DeviceType::kCpu)[0].info.unusable).empty();
#else
  const bool expected = false;
#endif
  CHECK_EQUAL(refusal.empty(), expected);
  if (expected) {
    CHECK(result->work > 0);
    CHECK_EQUAL(result->checksum, result->work);
  } else {
    CHECK(refusal.find("baseline has no dot product of bfloat16") != std::string::npos);
  }
}

TEST(probe_counts_its_bf16_tile_products_or_says_why_not) {
  register_test_kernels();
  for (int threads : {1, inline_backend().num_threads()}) {
    for (std::int64_t rounds : {std::int64_t{1}, std::int64_t{77}, std::int64_t{100'000}}) {
      std::shared_ptr<const ProbeResult> result;
      const std::string refusal = error_of([&] { result = probe(inline_backend(), ProbeKind::kBf16Tile, threads, rounds, nullptr); });
      CHECK_EQUAL(refusal.empty(), cpu::bf16_tile_missing() == nullptr);
      if (refusal.empty()) {
        CHECK_EQUAL(result->work, 8.0 * threads * 6 * 16 * 16 * 64 * static_cast<double>(rounds));
        CHECK_EQUAL(result->checksum, result->work);
      } else {
        CHECK(refusal.find(std::string("probe_tile: ") + cpu::bf16_tile_missing()) != std::string::npos);
      }
    }
  }
}

TEST(probe_refuses_bad_arguments) {
  const Tensor buffer = words(8, 1), floats = random_tensor(DType::kFloat32, {8}, 1);
  const int threads = inline_backend().num_threads();
  const auto refusal = [](ProbeKind kind, int count, std::int64_t rounds, const Tensor* given) {
    return error_of([&] { probe(inline_backend(), kind, count, rounds, given); });
  };
  CHECK_EQUAL(refusal(ProbeKind::kMultiplyAdd, 0, 1, nullptr), "threads: expected 1 to " + std::to_string(threads) + ", received 0");
  CHECK_EQUAL(refusal(ProbeKind::kMultiplyAdd, 1, 0, nullptr), "rounds: expected 1 to 4194304, received 0");
  CHECK_EQUAL(refusal(ProbeKind::kMultiplyAdd, 1, kMaxProbeRounds + 1, nullptr), "rounds: expected 1 to 4194304, received 4194305");
  CHECK_EQUAL(refusal(ProbeKind::kMultiplyAdd, 1, 1, &buffer), "buffer: expected none, received a tensor");
  CHECK_EQUAL(refusal(ProbeKind::kRead, 1, 1, nullptr), "buffer: expected a tensor, received none");
  CHECK_EQUAL(refusal(ProbeKind::kRead, 1, 1, &floats), "buffer: expected packed int32, received float32");
}

TEST(probes_are_no_kernels) {
  register_test_kernels();
  CHECK(!kernels_of<ProbeProblem>(DeviceType::kCpu).empty());
  for (const KernelUse& use : all_kernels()) CHECK(use.info.op != "probe");
}

}  // namespace attn::test
