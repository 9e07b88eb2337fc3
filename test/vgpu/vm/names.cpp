#include <stdexcept>

#include "parse.h"

namespace vgpu {

bool Names::close() {
  scopes_.pop_back();
  return !scopes_.empty();
}

std::uint32_t Names::add(Slot slot) {
  function_.slots.push_back(std::move(slot));
  return static_cast<std::uint32_t>(function_.slots.size() - 1);
}

std::uint32_t Names::declare(const std::string& name, SlotKind kind, std::uint64_t value) { return scopes_.back()[name] = add({kind, value, name}); }

std::uint32_t Names::slot_of(const std::string& name, const std::string& text) {
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
  } else if (globals_.count(name) != 0) {
    slot.kind = SlotKind::kGlobalVariable;
  } else if (name != "_") {
    throw std::runtime_error("PTX: unknown name " + name + " in \"" + text + "\"");
  }
  return constants_[name] = add(slot);
}

}  // namespace vgpu
