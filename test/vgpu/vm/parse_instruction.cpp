// An instruction: guard, opcode, operands. The opcode says which handler runs it (decode.cpp).
#include <algorithm>
#include <stdexcept>

#include "parse.h"

namespace vgpu {
namespace {

using std::string;

bool is_asynchronous(const std::vector<string>& parts) {
  const string& opcode = parts[0];
  const bool bulk = opcode == "cp" && std::find(parts.begin(), parts.end(), "bulk") != parts.end();
  const bool fence = opcode == "fence" && parts.size() > 1 && (parts[1] == "proxy" || parts[1] == "mbarrier_init");
  return opcode == "mbarrier" || opcode == "wgmma" || opcode == "setmaxnreg" || bulk || fence;
}

string inside(const string& brackets) { return brackets.substr(1, brackets.size() - 2); }

/// Appends operands to an instruction: those of a vector one after the other, of an address its register.
class Operands {
 public:
  Operands(Instruction& instruction, Names& names) : instruction_(instruction), names_(names) {}

  void parse(const string& text) {
    if (text[0] == '{') {
      for (const string& element : split(inside(text), ',')) parse(element);
    } else if (text[0] == '[') {
      parse_address(split(inside(text), ','));
    } else if (const auto bar = text.find('|'); bar != string::npos) {
      add(trim(text.substr(0, bar)), false);
      add(trim(text.substr(bar + 1)), false);
    } else {
      const bool negated = text[0] == '!';
      add(negated ? trim(text.substr(1)) : text, negated);
    }
  }

 private:
  /// Register and offset; after them the coordinates of a tensor copy: [map, {x, y}]
  void parse_address(const std::vector<string>& elements) {
    const string& address = elements.at(0);
    const auto sign = address.find_first_of("+-", 1);
    std::int64_t& offset = addresses_ == 0 ? instruction_.offset : addresses_ == 1 ? instruction_.offset2 : instruction_.offset3;
    offset = sign == string::npos ? 0 : static_cast<std::int64_t>(parse_number(trim(address.substr(sign + (address[sign] == '+' ? 1 : 0)))));
    addresses_++;
    add(trim(address.substr(0, sign)), false);
    for (std::size_t n = 1; n < elements.size(); n++) parse(elements[n]);
  }

  void add(const string& name, bool negated) {
    instruction_.operands.push_back(names_.slot_of(name, instruction_.text));
    instruction_.negated.push_back(negated);
  }

  Instruction& instruction_;
  Names& names_;
  int addresses_ = 0;
};

}  // namespace

ParsedInstruction parse_instruction(const string& text, Names& names) {
  ParsedInstruction parsed;
  Instruction& i = parsed.instruction;
  i.text = text;
  string rest = text;
  if (rest[0] == '@') {
    i.guard_negated = rest[1] == '!';
    const std::size_t begin = i.guard_negated ? 2 : 1, space = rest.find(' ');
    i.guard = names.slot_of(rest.substr(begin, space - begin), text);
    rest = trim(rest.substr(space));
  }
  const auto space = std::min(rest.find(' '), rest.size());
  const auto parts = split(rest.substr(0, space), '.');
  i.opcode = parts[0];
  const auto operands = split(trim(rest.substr(space)), ',');
  if (parts[0] == "bra") {
    parsed.label = operands.at(0);
  } else {
    Operands list(i, names);
    for (const string& operand : operands) list.parse(operand);
  }
  parsed.asynchronous = is_asynchronous(parts);
  if (!decode(i, parts)) throw std::runtime_error("PTX: unknown instruction \"" + text + "\" in " + names.function().name);
  return parsed;
}

}  // namespace vgpu
