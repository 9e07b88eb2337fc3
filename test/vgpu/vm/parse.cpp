// The PTX parser. PTX ISA 4 "Syntax" and 5 "State Spaces"; the forms are those that nvcc writes.
//
// A statement ends at a semicolon; .loc, .file and the module's head end at the line. Inline asm opens scopes ("{ .reg .pred p; … }").
// Parameters are an addressable space: nvcc takes their address and does arithmetic on it.
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <stdexcept>

#include "program.h"

namespace vgpu {
namespace {

using std::string;
using Names = std::map<string, std::uint32_t>;

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

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

string trim(const string& text) {
  std::size_t begin = 0;
  std::size_t end = text.size();
  while (begin < end && is_space(text[begin])) begin++;
  while (end > begin && is_space(text[end - 1])) end--;
  return text.substr(begin, end - begin);
}

/// At commas (or `at`) that are in no bracket.
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

std::uint64_t align_up(std::uint64_t value, std::uint64_t to) { return (value + to - 1) / to * to; }

int bytes_of(const string& type) {
  const char last = type.back();
  return type == ".pred" ? 1 : last == '8' ? 1 : last == '6' ? 2 : last == '2' ? 4 : 8;
}

/// ".align 16 .b8 name[64]" with an initialiser perhaps.
struct Declaration {
  string name;
  std::uint64_t bytes = 0;
  std::uint64_t align = 1;
  bool sized = true;
  std::vector<std::uint8_t> contents;
};

std::uint64_t parse_number(const string& text);

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

bool is_number(const string& text) {
  return !text.empty() &&
         (std::isdigit(static_cast<unsigned char>(text[0])) || (text[0] == '-' && text.size() > 1 && std::isdigit(static_cast<unsigned char>(text[1]))));
}

std::uint64_t parse_number(const string& text) {
  if (text.size() > 2 && text[0] == '0' && (text[1] == 'f' || text[1] == 'F' || text[1] == 'd' || text[1] == 'D')) {
    return std::strtoull(text.c_str() + 2, nullptr, 16);
  }
  return text[0] == '-' ? static_cast<std::uint64_t>(std::strtoll(text.c_str(), nullptr, 0)) : std::strtoull(text.c_str(), nullptr, 0);
}

class Parser {
 public:
  explicit Parser(const string& ptx) : text_(without_comments(ptx)), program_(std::make_unique<Program>()) {}

  std::unique_ptr<Program> run() {
    for (skip(); at_ < text_.size(); skip()) {
      if (starts(".file")) {
        parse_file(line());
      } else if (starts(".version") || starts(".target") || starts(".address_size") || starts(".loc")) {
        line();
      } else if (starts(".section")) {
        at_ = text_.find('}', at_) + 1;
      } else {
        parse_module_item();
      }
    }
    return std::move(program_);
  }

 private:
  void skip() {
    while (at_ < text_.size() && is_space(text_[at_])) at_++;
  }
  bool starts(const char* word) const { return text_.compare(at_, std::char_traits<char>::length(word), word) == 0; }
  string line() {
    const auto end = std::min(text_.find('\n', at_), text_.size());
    const string result = text_.substr(at_, end - at_);
    at_ = end;
    return result;
  }
  string statement() {
    const auto end = text_.find(';', at_);
    if (end == string::npos) throw std::runtime_error("PTX ends inside a statement: " + text_.substr(at_, 80));
    string result = text_.substr(at_, end - at_);
    for (char& c : result) c = is_space(c) ? ' ' : c;
    at_ = end + 1;
    return trim(result);
  }

  void parse_file(const string& text) {
    const auto quote = text.find('"');
    program_->files[std::atoi(text.c_str() + 5)] = text.substr(quote + 1, text.find('"', quote + 1) - quote - 1);
  }

  void parse_module_item() {
    const auto open = text_.find_first_of(";({", at_);
    if (open == string::npos) throw std::runtime_error("PTX: cannot read " + text_.substr(at_, 80));
    const string head = text_.substr(at_, open - at_);
    if (head.find(".entry") != string::npos) return parse_function();
    if (head.find(".func") != string::npos) throw std::runtime_error("PTX: functions that are called are not supported: " + trim(head));
    string item = statement();
    const bool shared = item.find(".shared") != string::npos;
    const Declaration d = parse_declaration(item);
    if (shared) {
      module_shared_.push_back(d);
    } else {
      program_->globals[d.name] = {d.bytes, d.align, d.contents, 0};
    }
  }

  void parse_function() {
    function_ = std::make_unique<Function>();
    scopes_.assign(1, {});
    constants_.clear();
    labels_.clear();
    jumps_.clear();
    dynamic_.clear();
    dynamic_align_ = 16;
    file_ = line_ = 0;
    const auto open = text_.find('(', at_);
    function_->name = words(text_.substr(at_, open - at_)).back();
    const auto close = text_.find(')', open);
    string list = text_.substr(open + 1, close - open - 1);
    for (char& c : list) c = is_space(c) ? ' ' : c;
    for (const string& param : split(list, ',')) {
      const Declaration d = parse_declaration(param);
      const std::uint64_t offset = align_up(function_->param_bytes, d.align);
      function_->params.push_back({offset, d.bytes});
      function_->param_bytes = offset + d.bytes;
      declare(d.name, {SlotKind::kParam, offset, d.name});
    }
    at_ = close + 1;
    const auto body = text_.find('{', at_);
    parse_performance(text_.substr(at_, body - at_));
    at_ = body + 1;
    for (const Declaration& d : module_shared_) declare_shared(d);
    parse_body();
    // Dynamic shared memory begins behind the static part.
    function_->dynamic_offset = static_cast<std::uint32_t>(align_up(function_->static_shared, dynamic_align_));
    for (std::uint32_t slot : dynamic_) function_->slots[slot].value = function_->dynamic_offset;
    for (const auto& [instruction, label] : jumps_) {
      const auto found = labels_.find(label);
      if (found == labels_.end()) throw std::runtime_error("PTX: no label " + label);
      function_->code[instruction].target = found->second;
    }
    number_product_registers(*function_);
    function_->files = &program_->files;
    program_->functions[function_->name] = std::move(function_);
  }

  void parse_performance(const string& text) {
    for (const char* word : {".maxntid", ".reqntid"}) {
      if (const auto at = text.find(word); at != string::npos) {
        std::uint32_t threads = 1;
        for (const string& number : split(text.substr(at + 8, text.find('\n', at) - at - 8), ','))
          threads *= static_cast<std::uint32_t>(std::max(1, std::atoi(number.c_str())));
        function_->max_threads = threads;
      }
    }
    if (const auto at = text.find(".minnctapersm"); at != string::npos) function_->min_blocks = static_cast<std::uint32_t>(std::atoi(text.c_str() + at + 13));
    if (const auto at = text.find(".maxnreg"); at != string::npos) function_->max_registers = static_cast<std::uint32_t>(std::atoi(text.c_str() + at + 8));
    if (const auto at = text.find(".reqnctapercluster"); at != string::npos) {
      std::fill(std::begin(function_->cluster), std::end(function_->cluster), 1u);
      std::uint32_t* axis = function_->cluster;
      for (const string& number : split(text.substr(at + 18, text.find('\n', at) - at - 18), ','))
        *axis++ = static_cast<std::uint32_t>(std::atoi(number.c_str()));
    }
  }

  void parse_body() {
    for (skip();; skip()) {
      if (at_ >= text_.size()) throw std::runtime_error("PTX ends inside a function");
      if (text_[at_] == '{') {
        scopes_.emplace_back();
        at_++;
      } else if (text_[at_] == '}') {
        at_++;
        scopes_.pop_back();
        if (scopes_.empty()) return;
      } else if (starts(".loc")) {
        std::sscanf(line().c_str(), ".loc %d %d", &file_, &line_);
      } else if (text_[at_] == ';') {
        at_++;
      } else if (const auto end = label_end(); end != string::npos) {
        labels_[trim(text_.substr(at_, end - at_))] = static_cast<std::uint32_t>(function_->code.size());
        at_ = end + 1;
      } else {
        parse_statement(statement());
      }
    }
  }

  /// The colon of a label that begins here, or npos.
  std::size_t label_end() const {
    std::size_t end = at_;
    while (end < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[end])) || text_[end] == '_' || text_[end] == '$')) end++;
    return end > at_ && text_[end] == ':' && text_[end + 1] != ':' ? end : string::npos;
  }

  std::uint32_t add_slot(Slot slot) {
    function_->slots.push_back(std::move(slot));
    return static_cast<std::uint32_t>(function_->slots.size() - 1);
  }
  std::uint32_t declare(const string& name, Slot slot) { return scopes_.back()[name] = add_slot(std::move(slot)); }

  void declare_shared(const Declaration& d) {
    if (!d.sized || d.bytes == 0) {
      dynamic_.push_back(declare(d.name, {SlotKind::kShared, 0, d.name}));
      dynamic_align_ = std::max(dynamic_align_, d.align);
      return;
    }
    const auto offset = static_cast<std::uint32_t>(align_up(function_->static_shared, d.align));
    declare(d.name, {SlotKind::kShared, offset, d.name});
    function_->static_shared = offset + static_cast<std::uint32_t>(d.bytes);
  }

  void parse_statement(const string& text) {
    if (text.compare(0, 4, ".reg") == 0) {
      const auto space = text.find(' ', 5);
      for (const string& name : split(text.substr(space), ',')) {
        const auto angle = name.find('<');
        if (angle == string::npos) {
          declare(name, {SlotKind::kRegister, 0, name});
        } else {
          const int count = std::atoi(name.c_str() + angle + 1);
          for (int i = 0; i < count; i++) declare(name.substr(0, angle) + std::to_string(i), {SlotKind::kRegister, 0, name});
        }
      }
    } else if (text.compare(0, 7, ".shared") == 0 || text.compare(0, 15, ".extern .shared") == 0) {
      declare_shared(parse_declaration(text));
    } else if (text.compare(0, 6, ".local") == 0) {
      const Declaration d = parse_declaration(text);
      const auto offset = static_cast<std::uint32_t>(align_up(function_->local_bytes, d.align));
      declare(d.name, {SlotKind::kLocal, offset, d.name});
      function_->local_bytes = offset + static_cast<std::uint32_t>(d.bytes);
    } else if (text.compare(0, 7, ".pragma") != 0) {
      parse_instruction(text);
    }
  }

  void parse_instruction(const string& text) {
    Instruction i;
    i.text = text;
    i.file = file_;
    i.line = line_;
    string rest = text;
    if (rest[0] == '@') {
      i.guard_negated = rest[1] == '!';
      const auto space = rest.find(' ');
      i.guard = slot_of(rest.substr(i.guard_negated ? 2 : 1, space - (i.guard_negated ? 2 : 1)), text);
      rest = trim(rest.substr(space));
    }
    const auto space = std::min(rest.find(' '), rest.size());
    const auto parts = split(rest.substr(0, space), '.');
    i.opcode = parts[0];
    const auto operands = split(trim(rest.substr(space)), ',');
    if (parts[0] == "bra") {
      jumps_.emplace_back(function_->code.size(), operands.at(0));
    } else {
      int addresses = 0;
      for (const string& operand : operands) parse_operand(i, operand, addresses);
    }
    const bool bulk = std::find(parts.begin(), parts.end(), "bulk") != parts.end();
    function_->asynchronous |= parts[0] == "mbarrier" || parts[0] == "wgmma" || parts[0] == "setmaxnreg" || (parts[0] == "cp" && bulk) ||
                               (parts[0] == "fence" && parts.size() > 1 && (parts[1] == "proxy" || parts[1] == "mbarrier_init"));
    if (!decode(i, parts)) throw std::runtime_error("PTX: unknown instruction \"" + text + "\" in " + function_->name);
    function_->code.push_back(std::move(i));
  }

  void parse_operand(Instruction& i, const string& text, int& addresses) {
    if (text[0] == '{') {
      for (const string& element : split(text.substr(1, text.size() - 2), ',')) parse_operand(i, element, addresses);
    } else if (text[0] == '[') {
      const auto elements = split(text.substr(1, text.size() - 2), ',');
      const string& inside = elements.at(0);
      auto sign = inside.find_first_of("+-", 1);
      std::int64_t offset = 0;
      if (sign != string::npos) {
        string number = trim(inside.substr(sign + (inside[sign] == '+' ? 1 : 0)));
        offset = static_cast<std::int64_t>(parse_number(number));
      }
      (addresses == 0 ? i.offset : addresses == 1 ? i.offset2 : i.offset3) = offset;
      addresses++;
      add_operand(i, trim(inside.substr(0, sign)), false);
      // The coordinates of a tensor copy: [map, {x, y}]
      for (std::size_t n = 1; n < elements.size(); n++) parse_operand(i, elements[n], addresses);
    } else if (const auto bar = text.find('|'); bar != string::npos) {
      add_operand(i, trim(text.substr(0, bar)), false);
      add_operand(i, trim(text.substr(bar + 1)), false);
    } else {
      const bool negated = text[0] == '!';
      add_operand(i, negated ? trim(text.substr(1)) : text, negated);
    }
  }

  void add_operand(Instruction& i, const string& name, bool negated) {
    i.operands.push_back(slot_of(name, i.text));
    i.negated.push_back(negated);
  }

  std::uint32_t slot_of(const string& name, const string& text) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const auto found = scope->find(name); found != scope->end()) return found->second;
    }
    if (const auto found = constants_.find(name); found != constants_.end()) return found->second;
    Slot slot;
    slot.name = name;
    if (is_number(name)) {
      slot.kind = SlotKind::kImmediate;
      slot.value = parse_number(name);
    } else if (name[0] == '%') {
      slot.kind = SlotKind::kSpecial;
    } else if (program_->globals.count(name) != 0) {
      slot.kind = SlotKind::kGlobalVariable;
    } else if (name != "_") {
      throw std::runtime_error("PTX: unknown name " + name + " in \"" + text + "\"");
    }
    return constants_[name] = add_slot(slot);
  }

  string text_;
  std::size_t at_ = 0;
  std::unique_ptr<Program> program_;
  std::unique_ptr<Function> function_;
  std::vector<Names> scopes_;
  Names constants_;
  Names labels_;
  std::vector<std::pair<std::size_t, string>> jumps_;
  std::vector<std::uint32_t> dynamic_;
  std::uint64_t dynamic_align_ = 16;
  std::vector<Declaration> module_shared_;
  int file_ = 0;
  int line_ = 0;
};

}  // namespace

std::unique_ptr<Program> parse(const std::string& ptx) { return Parser(ptx).run(); }

}  // namespace vgpu
