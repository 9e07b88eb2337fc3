// A module of PTX, parsed and decoded: every instruction has a handler, every operand a register slot.
//
// Immediates, special registers and addresses of variables are register slots too, filled in when a warp starts, so that a handler
// reads all of its operands the same way.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace vgpu {

struct Warp;
struct Instruction;
using Handler = void (*)(Warp&, const Instruction&, std::uint32_t lanes);

struct Instruction {
  Handler run = nullptr;
  std::vector<std::uint32_t> operands;  // slots; the elements of a vector one after the other
  std::vector<bool> negated;            // predicate operands written with !
  std::int64_t offset = 0;              // of a memory operand
  std::int64_t offset2 = 0;             // of a second one (cp.async)
  std::int64_t offset3 = 0;             // of a third one (the mbarrier of a bulk copy)
  std::uint32_t guard = ~0u;            // predicate slot, ~0: none
  bool guard_negated = false;
  std::uint32_t target = 0;  // of a branch
  int width = 0;             // bytes of an element of a load or store; other small numbers of an instruction
  int count = 1;             // elements
  int kind = 0;              // address space, mode, comparison: whatever the handler needs
  int flags = 0;
  std::vector<std::uint32_t> products;  // numbers of the registers of wgmma that it uses
  bool touches_products = false;        // and it is no wgmma
  std::string opcode;                   // without modifiers
  std::string text;
  int file = 0;
  int line = 0;
};

enum class SlotKind { kRegister, kImmediate, kSpecial, kShared, kGlobalVariable, kLocal, kParam };

struct Slot {
  SlotKind kind = SlotKind::kRegister;
  std::uint64_t value = 0;  // immediate, offset in its space, or number of the special register
  std::string name;
};

struct Param {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

struct Function {
  std::string name;
  std::vector<Slot> slots;
  std::vector<Instruction> code;
  std::vector<Param> params;
  std::uint64_t param_bytes = 0;
  std::uint32_t static_shared = 0;
  std::uint32_t dynamic_offset = 0;  // where dynamic shared memory begins
  std::uint32_t local_bytes = 0;
  std::uint32_t max_threads = 1024;
  std::uint32_t min_blocks = 0;  // of a multiprocessor; 0: not said
  std::uint32_t max_registers = 0;
  std::uint32_t product_registers = 0;  // that wgmma uses
  std::uint32_t cluster[3] = {};        // .reqnctapercluster; 0: the launch says
  bool asynchronous = false;            // it has mbarriers, bulk copies, wgmma or fences for them
  const std::map<int, std::string>* files = nullptr;
};

struct ModuleVariable {
  std::uint64_t bytes = 0;
  std::uint64_t align = 1;
  std::vector<std::uint8_t> contents;
  std::uint64_t address = 0;  // set by whoever loads the module
};

struct Program {
  std::map<std::string, std::unique_ptr<Function>> functions;
  std::map<std::string, ModuleVariable> globals;  // .global and .const
  std::map<int, std::string> files;
};

/// Throws std::runtime_error naming the instruction for anything unknown.
std::unique_ptr<Program> parse(const std::string& ptx);

/// The registers that wgmma uses get numbers, and every instruction the list of those that it touches.
void number_product_registers(Function& function);

/// The handler of an instruction whose operands are parsed; false: unknown. `parts` is the opcode split at dots.
bool decode(Instruction& instruction, const std::vector<std::string>& parts);
bool decode_memory(Instruction& instruction, const std::vector<std::string>& parts);
bool decode_async(Instruction& instruction, const std::vector<std::string>& parts);
bool decode_tensor(Instruction& instruction, const std::vector<std::string>& parts);
bool decode_wgmma(Instruction& instruction, const std::vector<std::string>& parts);
bool decode_setmaxnreg(Instruction& instruction, const std::vector<std::string>& parts);

}  // namespace vgpu
