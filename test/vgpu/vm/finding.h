// What the checker reports. The names are what tests and mutants ask for.
#pragma once
#include <stdexcept>
#include <string>

namespace vgpu {

enum class FindingKind {
  kOutOfBounds,
  kMisaligned,
  kUninitialisedGlobal,
  kUninitialisedShared,
  kUninitialisedLocal,
  kPendingCopy,
  kOpenCopies,
  kSharedRace,
  kMissingSyncwarp,
  kGlobalRace,
  kBarrier,
  kDivergence,
  kShuffle,
  kDeadlock,
  kTrap,
  kMbarrier,
  kProxy,
  kSwizzle,
  kTensorMap,
  kOpenBulk,
  kRegisterInFlight,
  kWgmmaFence,
  kOpenProducts,
  kWarpgroup,
  kDescriptor,
  kRegisterCount,
};

inline const char* name_of(FindingKind kind) {
  constexpr const char* kNames[] = {"out of bounds",
                                    "misaligned",
                                    "uninitialised global read",
                                    "uninitialised shared read",
                                    "uninitialised local read",
                                    "read of pending copy",
                                    "exit with open copies",
                                    "shared memory race",
                                    "missing syncwarp",
                                    "global memory race",
                                    "barrier misuse",
                                    "divergence",
                                    "shuffle from inactive lane",
                                    "deadlock",
                                    "trap",
                                    "mbarrier misuse",
                                    "missing proxy fence",
                                    "wrong swizzle",
                                    "tensor map misuse",
                                    "exit with open bulk copies",
                                    "register of wgmma in flight",
                                    "missing wgmma.fence",
                                    "exit with open wgmma groups",
                                    "warpgroup misuse",
                                    "descriptor misuse",
                                    "setmaxnreg misuse"};
  return kNames[static_cast<int>(kind)];
}

struct Finding : std::runtime_error {
  Finding(FindingKind kind_, const std::string& text) : std::runtime_error(text), kind(kind_) {}
  FindingKind kind;
};

}  // namespace vgpu
