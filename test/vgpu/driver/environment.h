// The VGPU_* variables, read once: what the virtual GPU pretends to be.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace vgpu::driver {

struct Environment {
  int capability = 80;            // VGPU_CC: 80, 86, 89, 90, 100 or 120
  int num_devices = 1;            // VGPU_DEVICES: 0 is a driver without a GPU
  int driver_version = 13000;     // VGPU_DRIVER_VERSION, as cuDriverGetVersion says it
  std::size_t memory_bytes = 0;   // VGPU_MEMORY: of each device
  unsigned max_shared_bytes = 0;  // VGPU_SHARED: the opt-in limit of a block
  std::uint64_t seed = 0;         // VGPU_SEED: the order of everything whose order is not promised
  bool checks = true;             // VGPU_CHECKS=off
  std::string report;             // VGPU_REPORT: a file that gets one line of JSON per launch
  std::string fault;              // VGPU_FAULT: launches of this kernel end with an illegal address

  std::string replace;  // VGPU_REPLACE: an edit of a kernel's PTX, see module.cpp

  int num_sms() const;
  unsigned shared_per_sm() const;
};

/// Throws std::runtime_error for a variable with a value that means nothing.
const Environment& environment();

}  // namespace vgpu::driver
