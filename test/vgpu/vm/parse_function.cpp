// A function: parameters, directives, and a body of declarations, labels and instructions.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "parse.h"

namespace vgpu {
namespace {

using std::string;

void parse_performance(const string& text, Function& function) {
  // The numbers behind a word, up to the end of the line.
  const auto numbers = [&](const char* word) {
    std::vector<std::uint32_t> found;
    if (const auto at = text.find(word); at != string::npos) {
      const auto begin = at + std::char_traits<char>::length(word);
      for (const string& number : split(text.substr(begin, text.find('\n', begin) - begin), ','))
        found.push_back(static_cast<std::uint32_t>(std::atoi(number.c_str())));
    }
    return found;
  };
  for (const char* word : {".maxntid", ".reqntid"}) {
    if (const auto threads = numbers(word); !threads.empty()) {
      function.max_threads = 1;
      for (std::uint32_t n : threads) function.max_threads *= std::max(1u, n);
    }
  }
  for (std::uint32_t n : numbers(".minnctapersm")) function.min_blocks = n;
  for (std::uint32_t n : numbers(".maxnreg")) function.max_registers = n;
  if (const auto cluster = numbers(".reqnctapercluster"); !cluster.empty()) {
    for (std::size_t axis = 0; axis < std::size(function.cluster); axis++) function.cluster[axis] = axis < cluster.size() ? cluster[axis] : 1;
  }
}

class FunctionParser {
 public:
  FunctionParser(PtxText& ptx, const Program& program)
      : ptx_(ptx), program_(program), function_(std::make_unique<Function>()), names_(*function_, program.globals) {}

  std::unique_ptr<Function> run(const std::vector<Declaration>& shared) {
    parse_head();
    for (const Declaration& d : shared) declare_shared(d);
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
    function_->files = &program_.files;
    return std::move(function_);
  }

 private:
  void parse_head() {
    const string& text = ptx_.text;
    const auto open = text.find('(', ptx_.at), close = text.find(')', open), body = text.find('{', close);
    function_->name = words(text.substr(ptx_.at, open - ptx_.at)).back();
    for (const string& param : split(one_line(text.substr(open + 1, close - open - 1)), ',')) {
      const Declaration d = parse_declaration(param);
      const std::uint64_t offset = align_up(function_->param_bytes, d.align);
      function_->params.push_back({offset, d.bytes});
      function_->param_bytes = offset + d.bytes;
      names_.declare(d.name, SlotKind::kParam, offset);
    }
    parse_performance(text.substr(close + 1, body - close - 1), *function_);
    ptx_.at = body + 1;
  }

  void parse_body() {
    for (ptx_.skip_space();; ptx_.skip_space()) {
      if (ptx_.ended()) throw std::runtime_error("PTX ends inside a function");
      if (ptx_.starts("{")) {
        names_.open();
        ptx_.at++;
      } else if (ptx_.starts("}")) {
        ptx_.at++;
        if (!names_.close()) return;
      } else if (ptx_.starts(".loc")) {
        std::sscanf(ptx_.line().c_str(), ".loc %d %d", &file_, &line_);
      } else if (ptx_.starts(";")) {
        ptx_.at++;
      } else if (const string label = ptx_.label(); !label.empty()) {
        labels_[label] = static_cast<std::uint32_t>(function_->code.size());
      } else {
        parse_statement(ptx_.statement());
      }
    }
  }

  void parse_statement(const string& text) {
    const auto begins = [&](const char* word) { return text.rfind(word, 0) == 0; };
    if (begins(".reg")) {
      declare_registers(text.substr(text.find(' ', 5)));
    } else if (begins(".shared") || begins(".extern .shared")) {
      declare_shared(parse_declaration(text));
    } else if (begins(".local")) {
      const Declaration d = parse_declaration(text);
      const auto offset = static_cast<std::uint32_t>(align_up(function_->local_bytes, d.align));
      names_.declare(d.name, SlotKind::kLocal, offset);
      function_->local_bytes = offset + static_cast<std::uint32_t>(d.bytes);
    } else if (!begins(".pragma")) {
      ParsedInstruction parsed = parse_instruction(text, names_);
      parsed.instruction.file = file_;
      parsed.instruction.line = line_;
      if (!parsed.label.empty()) jumps_.emplace_back(function_->code.size(), parsed.label);
      function_->asynchronous |= parsed.asynchronous;
      function_->code.push_back(std::move(parsed.instruction));
    }
  }

  /// "%p, %r<8>": the latter are %r0 to %r7.
  void declare_registers(const string& list) {
    for (const string& name : split(list, ',')) {
      const auto angle = name.find('<');
      if (angle == string::npos) {
        names_.declare(name, SlotKind::kRegister);
      } else {
        const int count = std::atoi(name.c_str() + angle + 1);
        for (int i = 0; i < count; i++) names_.declare(name.substr(0, angle) + std::to_string(i), SlotKind::kRegister);
      }
    }
  }

  void declare_shared(const Declaration& d) {
    if (!d.sized || d.bytes == 0) {
      dynamic_.push_back(names_.declare(d.name, SlotKind::kShared));
      dynamic_align_ = std::max(dynamic_align_, d.align);
      return;
    }
    const auto offset = static_cast<std::uint32_t>(align_up(function_->static_shared, d.align));
    names_.declare(d.name, SlotKind::kShared, offset);
    function_->static_shared = offset + static_cast<std::uint32_t>(d.bytes);
  }

  PtxText& ptx_;
  const Program& program_;
  std::unique_ptr<Function> function_;
  Names names_;
  std::map<string, std::uint32_t> labels_;
  std::vector<std::pair<std::size_t, string>> jumps_;
  std::vector<std::uint32_t> dynamic_;
  std::uint64_t dynamic_align_ = 16;
  int file_ = 0;
  int line_ = 0;
};

}  // namespace

std::unique_ptr<Function> parse_function(PtxText& ptx, const Program& program, const std::vector<Declaration>& shared) {
  return FunctionParser(ptx, program).run(shared);
}

}  // namespace vgpu
