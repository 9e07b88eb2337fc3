#include "ptx_text.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <stdexcept>

namespace vgpu {
namespace {

using std::string;

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

string without_comments(const string& text) {
  string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); i++) {
    if (text.compare(i, 2, "//") == 0) {
      while (i < text.size() && text[i] != '\n') i++;
      out += '\n';
    } else if (text.compare(i, 2, "/*") == 0) {
      i = text.find("*/", i + 2) + 1;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

string trim(const string& text) {
  std::size_t begin = 0;
  std::size_t end = text.size();
  while (begin < end && is_space(text[begin])) begin++;
  while (end > begin && is_space(text[end - 1])) end--;
  return text.substr(begin, end - begin);
}

std::vector<string> split(const string& text, char at) {
  std::vector<string> parts;
  string part;
  int depth = 0;
  for (char c : text) {
    depth += c == '{' || c == '[' || c == '(' ? 1 : c == '}' || c == ']' || c == ')' ? -1 : 0;
    if (c == at && depth == 0) {
      parts.push_back(trim(part));
      part.clear();
    } else {
      part += c;
    }
  }
  if (!trim(part).empty()) parts.push_back(trim(part));
  return parts;
}

std::vector<string> words(const string& text) {
  std::vector<string> out;
  for (const string& word : split(text, ' ')) {
    if (!word.empty()) out.push_back(word);
  }
  return out;
}

string one_line(string text) {
  for (char& c : text) c = is_space(c) ? ' ' : c;
  return text;
}

bool is_number(const string& text) { return !text.empty() && (is_digit(text[0]) || (text[0] == '-' && text.size() > 1 && is_digit(text[1]))); }

std::uint64_t parse_number(const string& text) {
  if (text.size() > 2 && text[0] == '0' && (text[1] == 'f' || text[1] == 'F' || text[1] == 'd' || text[1] == 'D')) {
    return std::strtoull(text.c_str() + 2, nullptr, 16);
  }
  return text[0] == '-' ? static_cast<std::uint64_t>(std::strtoll(text.c_str(), nullptr, 0)) : std::strtoull(text.c_str(), nullptr, 0);
}

PtxText::PtxText(const string& ptx) : text(without_comments(ptx)) {}

void PtxText::skip_space() {
  while (at < text.size() && is_space(text[at])) at++;
}

bool PtxText::starts(const char* word) const { return text.compare(at, std::char_traits<char>::length(word), word) == 0; }

string PtxText::line() {
  const auto end = std::min(text.find('\n', at), text.size());
  const string result = text.substr(at, end - at);
  at = end;
  return result;
}

string PtxText::statement() {
  const auto end = text.find(';', at);
  if (end == string::npos) throw std::runtime_error("PTX ends inside a statement: " + text.substr(at, 80));
  const string result = one_line(text.substr(at, end - at));
  at = end + 1;
  return trim(result);
}

string PtxText::label() {
  std::size_t end = at;
  while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_' || text[end] == '$')) end++;
  if (end == at || text[end] != ':' || text[end + 1] == ':') return "";
  const string name = text.substr(at, end - at);
  at = end + 1;
  return name;
}

}  // namespace vgpu
