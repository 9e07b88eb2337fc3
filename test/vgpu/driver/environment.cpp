#include "environment.h"

#include <cstdlib>
#include <stdexcept>

namespace vgpu::driver {
namespace {

// Multiprocessors, shared memory of one and the opt-in limit of a block: CUDA programming guide, table of technical specifications per compute capability.
struct Model {
  int capability;
  int num_sms;
  unsigned shared_per_sm;
};
// 75 is there to be refused.
constexpr Model kModels[] = {{75, 40, 64 << 10},   {80, 108, 164 << 10},  {86, 84, 100 << 10},  {89, 128, 100 << 10},
                             {90, 132, 228 << 10}, {100, 148, 228 << 10}, {120, 170, 100 << 10}};

const Model& model_of(int capability) {
  for (const Model& model : kModels) {
    if (model.capability == capability) {
      return model;
    }
  }
  throw std::runtime_error("VGPU_CC is " + std::to_string(capability) + "; it may be 75, 80, 86, 89, 90, 100 or 120");
}

std::uint64_t number(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == 0) {
    return otherwise;
  }
  char* end = nullptr;
  const std::uint64_t value = std::strtoull(text, &end, 10);
  if (*end != 0 || *text == '-') {
    throw std::runtime_error(std::string(name) + " is \"" + text + "\"; it must be a number");
  }
  return value;
}

std::string text(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Environment read() {
  Environment env;
  env.capability = static_cast<int>(number("VGPU_CC", 80));
  model_of(env.capability);
  env.num_devices = static_cast<int>(number("VGPU_DEVICES", 1));
  env.driver_version = static_cast<int>(number("VGPU_DRIVER_VERSION", 13000));
  env.memory_bytes = number("VGPU_MEMORY", std::size_t{16} << 30);
  // The system keeps 1 KiB of every block's shared memory for itself.
  env.max_shared_bytes = static_cast<unsigned>(number("VGPU_SHARED", env.shared_per_sm() - 1024));
  env.seed = number("VGPU_SEED", 0);
  const std::string checks = text("VGPU_CHECKS");
  if (checks != "" && checks != "on" && checks != "off") {
    throw std::runtime_error("VGPU_CHECKS is \"" + checks + "\"; it may be on or off");
  }
  env.checks = checks != "off";
  env.report = text("VGPU_REPORT");
  env.fault = text("VGPU_FAULT");
  env.replace = text("VGPU_REPLACE");
  return env;
}

}  // namespace

int Environment::num_sms() const { return model_of(capability).num_sms; }
unsigned Environment::shared_per_sm() const { return model_of(capability).shared_per_sm; }

const Environment& environment() {
  static const Environment env = read();
  return env;
}

}  // namespace vgpu::driver
