#pragma once
// The test harness: TEST(name) { CHECK(…); } in any source of this folder; main.cpp runs them all.

#include <cmath>
#include <sstream>
#include <string>

namespace attn::test {

/// Notes a failure of the running test and goes on.
void fail(const char* file, int line, const std::string& message);
/// Counts a comparison: a test that compares nothing fails.
void count_check();

struct Registration {
  Registration(const char* name, void (*run)());
};

template <class A, class B>
void check_equal(const A& actual, const B& expected, const char* text, const char* file, int line) {
  count_check();
  if (actual == expected) return;
  std::ostringstream message;
  message << text << ": expected " << expected << ", received " << actual;
  fail(file, line, message.str());
}

/// |actual - expected| <= tolerance; NaN equals NaN and infinities equal themselves.
inline bool is_near(double actual, double expected, double tolerance) {
  if (std::isnan(expected) || std::isnan(actual)) return std::isnan(expected) && std::isnan(actual);
  return actual == expected || std::fabs(actual - expected) <= tolerance;
}

inline void check_near(double actual, double expected, double tolerance, const std::string& text, const char* file, int line) {
  count_check();
  if (is_near(actual, expected, tolerance)) return;
  std::ostringstream message;
  message.precision(9);
  message << text << ": expected " << expected << " within " << tolerance << ", received " << actual;
  fail(file, line, message.str());
}

}  // namespace attn::test

#define TEST(name)                                                 \
  static void name();                                              \
  static const attn::test::Registration name##_entry(#name, name); \
  static void name()
#define CHECK(condition)                                                           \
  do {                                                                             \
    attn::test::count_check();                                                     \
    if (!(condition)) attn::test::fail(__FILE__, __LINE__, "not so: " #condition); \
  } while (false)
#define CHECK_EQUAL(actual, expected) attn::test::check_equal(actual, expected, #actual, __FILE__, __LINE__)
#define CHECK_NEAR(actual, expected, tolerance) attn::test::check_near(actual, expected, tolerance, #actual, __FILE__, __LINE__)
/// The same with a text of one's own, for loops over cases.
#define CHECK_NEAR_IN(text, actual, expected, tolerance) attn::test::check_near(actual, expected, tolerance, text, __FILE__, __LINE__)
