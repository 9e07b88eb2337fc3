// VGPU_REPORT: one line of JSON per launch.
#pragma once
#include <string>

#include "../vm/launch.h"

namespace vgpu::driver {

struct LaunchReport {
  std::string kernel;
  int device;
  vgpu::LaunchShape shape;
  vgpu::Counters counters;
  std::string finding;  // its name; empty: none
  std::string text;
};

/// Appends to the file; several processes may write to one.
void write_report(const LaunchReport& report);

}  // namespace vgpu::driver
