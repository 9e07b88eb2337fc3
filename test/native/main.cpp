#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <vector>

#include "check.h"

namespace attn::test {
namespace {

constexpr int kMaxShown = 10;  // failures printed per test

struct Entry {
  const char* name;
  void (*run)();
};

std::vector<Entry>& entries() {
  static std::vector<Entry> list;
  return list;
}

long checks = 0, failures = 0;

}  // namespace

Registration::Registration(const char* name, void (*run)()) { entries().push_back({name, run}); }

void count_check() { ++checks; }

void fail(const char* file, int line, const std::string& message) {
  if (++failures <= kMaxShown) std::printf("  %s:%d: %s\n", file, line, message.c_str());
}

/// Runs the tests whose name contains `filter`; returns how many failed.
int run_all(const char* filter) {
  int run = 0, failed = 0;
  for (const Entry& entry : entries()) {
    if (filter && !std::strstr(entry.name, filter)) continue;
    checks = failures = 0;
    const auto start = std::chrono::steady_clock::now();
    try {
      entry.run();
    } catch (const std::exception& error) {
      fail(entry.name, 0, error.what());
    }
    if (checks == 0) fail(entry.name, 0, "the test compared nothing");
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::printf("%s %s (%ld checks, %.2f s)\n", failures ? "FAILED" : "ok    ", entry.name, checks, seconds);
    if (failures > kMaxShown) std::printf("  … and %ld more failures\n", failures - kMaxShown);
    ++run;
    failed += failures > 0;
  }
  std::printf("%d of %d tests failed\n", failed, run);
  return run == 0 ? 1 : failed;
}

}  // namespace attn::test

namespace attn::test {
int run_sweep();  // unfused_sweep.cpp
}

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--sweep") == 0) return attn::test::run_sweep();
  return attn::test::run_all(argc > 1 ? argv[1] : nullptr) ? 1 : 0;
}
