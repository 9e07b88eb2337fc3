#include "declaration.h"

#include <algorithm>
#include <cctype>

#include "ptx_text.h"

namespace vgpu {
namespace {

using std::string;

int bytes_of(const string& type) {
  const char last = type.back();
  return type == ".pred" ? 1 : last == '8' ? 1 : last == '6' ? 2 : last == '2' ? 4 : 8;
}

}  // namespace

Declaration parse_declaration(string text) {
  Declaration d;
  string initialiser;
  if (const auto equals = text.find('='); equals != string::npos) {
    initialiser = trim(text.substr(equals + 1));
    text = trim(text.substr(0, equals));
  }
  int element = 1;
  const auto tokens = words(text);
  for (std::size_t i = 0; i < tokens.size(); i++) {
    if (tokens[i] == ".align") {
      d.align = std::stoul(tokens[++i]);
    } else if (tokens[i][0] == '.') {
      if (tokens[i].size() >= 3 && std::isdigit(static_cast<unsigned char>(tokens[i].back()))) element = bytes_of(tokens[i]);
    } else {
      const auto bracket = tokens[i].find('[');
      d.name = tokens[i].substr(0, bracket);
      d.sized = bracket == string::npos || tokens[i][bracket + 1] != ']';
      d.bytes = static_cast<std::uint64_t>(element) * (bracket == string::npos ? 1 : d.sized ? std::stoul(tokens[i].substr(bracket + 1)) : 0);
    }
  }
  d.align = std::max<std::uint64_t>(d.align, static_cast<std::uint64_t>(element));
  if (!initialiser.empty()) {
    if (initialiser[0] == '{') initialiser = initialiser.substr(1, initialiser.size() - 2);
    for (const string& value : split(initialiser, ',')) {
      const std::uint64_t bits = parse_number(value);
      for (int b = 0; b < element; b++) d.contents.push_back(static_cast<std::uint8_t>(bits >> (8 * b)));
    }
    d.contents.resize(d.bytes);
  }
  return d;
}

}  // namespace vgpu
