#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace vgpu {

/// Of a variable or parameter: ".align 16 .b8 name[64]", with an initialiser perhaps.
struct Declaration {
  std::string name;
  std::uint64_t bytes = 0;
  std::uint64_t align = 1;
  bool sized = true;
  std::vector<std::uint8_t> contents;
};

Declaration parse_declaration(std::string text);

inline std::uint64_t align_up(std::uint64_t value, std::uint64_t to) { return (value + to - 1) / to * to; }

}  // namespace vgpu
