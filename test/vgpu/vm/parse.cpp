// The PTX parser. PTX ISA 4 "Syntax" and 5 "State Spaces"; the forms are those that nvcc writes.
//
// A statement ends at a semicolon; .loc, .file and the module's head end at the line. Inline asm opens scopes ("{ .reg .pred p; … }").
// Parameters are an addressable space: nvcc takes their address and does arithmetic on it.
#include "parse.h"

#include <cstdlib>
#include <stdexcept>

namespace vgpu {
namespace {

using std::string;

class ModuleParser {
 public:
  explicit ModuleParser(const string& text) : ptx_(text), program_(std::make_unique<Program>()) {}

  std::unique_ptr<Program> run() {
    for (ptx_.skip_space(); !ptx_.ended(); ptx_.skip_space()) {
      if (ptx_.starts(".file")) {
        parse_file(ptx_.line());
      } else if (ptx_.starts(".version") || ptx_.starts(".target") || ptx_.starts(".address_size") || ptx_.starts(".loc")) {
        ptx_.line();
      } else if (ptx_.starts(".section")) {
        ptx_.at = ptx_.text.find('}', ptx_.at) + 1;
      } else {
        parse_item();
      }
    }
    return std::move(program_);
  }

 private:
  void parse_file(const string& text) {
    const auto quote = text.find('"');
    program_->files[std::atoi(text.c_str() + 5)] = text.substr(quote + 1, text.find('"', quote + 1) - quote - 1);
  }

  /// A function or a variable.
  void parse_item() {
    const auto open = ptx_.text.find_first_of(";({", ptx_.at);
    if (open == string::npos) throw std::runtime_error("PTX: cannot read " + ptx_.text.substr(ptx_.at, 80));
    const string head = ptx_.text.substr(ptx_.at, open - ptx_.at);
    if (head.find(".entry") != string::npos) {
      auto function = parse_function(ptx_, *program_, shared_);
      program_->functions[function->name] = std::move(function);
      return;
    }
    if (head.find(".func") != string::npos) throw std::runtime_error("PTX: functions that are called are not supported: " + trim(head));
    const string item = ptx_.statement();
    const Declaration d = parse_declaration(item);
    if (item.find(".shared") != string::npos) {
      shared_.push_back(d);
    } else {
      program_->globals[d.name] = {d.bytes, d.align, d.contents, 0};
    }
  }

  PtxText ptx_;
  std::unique_ptr<Program> program_;
  std::vector<Declaration> shared_;
};

}  // namespace

std::unique_ptr<Program> parse(const string& ptx) { return ModuleParser(ptx).run(); }

}  // namespace vgpu
