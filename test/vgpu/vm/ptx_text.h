// The text of a module of PTX: words, lists, numbers, and a place in it that moves on.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace vgpu {

std::string trim(const std::string& text);

/// At commas (or `at`) that are in no bracket.
std::vector<std::string> split(const std::string& text, char at);
std::vector<std::string> words(const std::string& text);

/// With blanks for line ends and tabs.
std::string one_line(std::string text);

bool is_number(const std::string& text);
std::uint64_t parse_number(const std::string& text);

/// Reads on from `at`.
struct PtxText {
  std::string text;  // without comments
  std::size_t at = 0;

  explicit PtxText(const std::string& ptx);
  void skip_space();
  bool ended() const { return at >= text.size(); }
  bool starts(const char* word) const;
  std::string line();
  /// Up to the next semicolon, as one line.
  std::string statement();
  /// The name of a label that begins here, which is passed over with its colon; empty: there is none.
  std::string label();
};

}  // namespace vgpu
