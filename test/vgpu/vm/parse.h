// The parts of the PTX parser: parse() reads a module, each function of it is read by parse_function(), each of its instructions by parse_instruction().
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "declaration.h"
#include "program.h"
#include "ptx_text.h"

namespace vgpu {

/// What the names in a function stand for: a slot of it each.
class Names {
 public:
  Names(Function& function, const std::map<std::string, ModuleVariable>& globals) : function_(function), globals_(globals) {}

  /// Inline asm opens scopes ("{ .reg .pred p; … }"): a name is of the innermost one.
  void open() { scopes_.emplace_back(); }
  /// Whether there is still one open.
  bool close();

  std::uint32_t declare(const std::string& name, SlotKind kind, std::uint64_t value = 0);
  /// Numbers, special registers and variables of the module get a slot where they are first used. `text` is the instruction that names it.
  std::uint32_t slot_of(const std::string& name, const std::string& text);

  const Function& function() const { return function_; }

 private:
  std::uint32_t add(Slot slot);

  Function& function_;
  const std::map<std::string, ModuleVariable>& globals_;
  std::vector<std::map<std::string, std::uint32_t>> scopes_{1};
  std::map<std::string, std::uint32_t> constants_;
};

struct ParsedInstruction {
  Instruction instruction;
  std::string label;          // that it jumps to; empty: it is no branch
  bool asynchronous = false;  // mbarriers, bulk copies, wgmma, or fences for them
};

ParsedInstruction parse_instruction(const std::string& text, Names& names);

/// The function that begins at `ptx`, which moves on behind it. `shared` are the module's variables of shared memory.
std::unique_ptr<Function> parse_function(PtxText& ptx, const Program& program, const std::vector<Declaration>& shared);

}  // namespace vgpu
