// A device of the virtual GPU for a test: arrays, modules, launches, every result checked.
#pragma once
#include <cuda.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

inline void check(CUresult result, const char* what) {
  if (result != CUDA_SUCCESS) {
    const char* name = nullptr;
    cuGetErrorName(result, &name);
    throw std::runtime_error(std::string(what) + ": " + (name == nullptr ? "?" : name));
  }
}
#define CHECK(call) check(call, #call)

struct Gpu {
  Gpu() {
    CHECK(cuInit(0));
    CUdevice device;
    CUcontext context;
    CHECK(cuDeviceGet(&device, 0));
    CHECK(cuDevicePrimaryCtxRetain(&context, device));
    CHECK(cuCtxSetCurrent(context));
  }
  /// With VGPU_TEST_PTX in the environment the text goes to that file, too: what a test runs is what it has tested.
  CUfunction load(const std::string& ptx, const char* name) {
    if (const char* path = std::getenv("VGPU_TEST_PTX")) {
      if (std::FILE* file = std::fopen(path, "a")) {
        std::fputs(ptx.c_str(), file);
        std::fclose(file);
      }
    }
    CUmodule module;
    CUfunction function;
    CHECK(cuModuleLoadData(&module, ptx.c_str()));
    CHECK(cuModuleGetFunction(&function, module, name));
    return function;
  }
  CUdeviceptr empty(std::size_t bytes) {
    CUdeviceptr address;
    CHECK(cuMemAlloc(&address, bytes));
    return address;
  }
  template <class T>
  CUdeviceptr upload(const std::vector<T>& values) {
    const CUdeviceptr address = empty(values.size() * sizeof(T));
    CHECK(cuMemcpyHtoD(address, values.data(), values.size() * sizeof(T)));
    return address;
  }
  template <class T>
  std::vector<T> download(CUdeviceptr address, std::size_t count) {
    std::vector<T> values(count);
    CHECK(cuMemcpyDtoH(values.data(), address, count * sizeof(T)));
    return values;
  }
  void launch(CUfunction function, unsigned blocks, unsigned threads, std::vector<void*> arguments) {
    CHECK(cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, 0, nullptr, arguments.data(), nullptr));
    CHECK(cuCtxSynchronize());
  }
};

/// Small seeded integers and fractions that bf16 holds exactly.
struct Random {
  explicit Random(unsigned seed) : state(seed * 2654435761u + 1) {}
  unsigned next() {
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
  }
  float value() { return static_cast<float>(static_cast<int>(next() % 17) - 8) / 4; }
  unsigned state;
};

/// The upper half of a float: exact for what Random::value() gives.
inline std::uint16_t bf16(float v) {
  unsigned bits;
  std::memcpy(&bits, &v, 4);
  return static_cast<std::uint16_t>(bits >> 16);
}

/// Says where the two differ first.
inline bool same(const std::vector<float>& got, const std::vector<float>& expected) {
  for (std::size_t n = 0; n < expected.size(); n++) {
    if (!(got[n] == expected[n])) {
      std::printf("element %zu is %g, expected %g\n", n, static_cast<double>(got[n]), static_cast<double>(expected[n]));
      return false;
    }
  }
  return true;
}

/// What a program has found wrong.
inline int failures = 0;

/// The main function of a program.
inline int run_checks(void (*checks)(Gpu&)) {
  try {
    Gpu gpu;
    checks(gpu);
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 2;
  }
}

/// The main function of a program that runs one kernel of a file of PTX: file, kernel, more. `right` launches it and says whether it computed what it should.
inline int run_kernel(int count, char** arguments, bool (*right)(Gpu& gpu, const std::string& name, CUfunction f)) {
  if (count < 3) return 3;
  try {
    std::ifstream file(arguments[1]);
    std::stringstream ptx;
    ptx << file.rdbuf();
    Gpu gpu;
    return right(gpu, arguments[2], gpu.load(ptx.str(), arguments[2])) ? 0 : 1;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 2;
  }
}
