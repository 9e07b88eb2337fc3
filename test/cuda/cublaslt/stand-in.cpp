// A libcublasLt.so.13 for tests: the functions that the addon uses, on the host, by way of the driver that the process has loaded. It is strict
// about what it is told. STAND_IN=start: it does not start; STAND_IN=algorithm: it knows no algorithm; STAND_IN=product: products fail.
#include <dlfcn.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

struct Layout {
  int type;
  std::int64_t rows, columns, stride;
  std::int32_t batch = 1;
  std::int64_t batch_stride = 0;
  std::int64_t span() const { return (batch - 1) * batch_stride + (columns - 1) * stride + rows; }
};
struct Product {
  std::int32_t transpose_a = 0;
  std::uint32_t epilogue = 1;
  const void* bias = nullptr;
};
struct Preference {
  std::uint64_t workspace = 0;
  std::uint32_t reduction = 0, alignment[4] = {256, 256, 256, 256};
};

bool wanted(const char* trouble) {
  const char* wish = std::getenv("STAND_IN");
  return wish && std::string(wish) == trouble;
}

[[noreturn]] void refuse(const char* what) {
  std::fprintf(stderr, "stand-in for cuBLASLt: %s\n", what);
  std::abort();
}

template <class T>
void take(T& target, const void* value, std::size_t bytes) {
  if (bytes != sizeof target) refuse("an attribute of the wrong size");
  std::memcpy(&target, value, bytes);
}

template <class Function>
Function driver(const char* name) {
  static void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  void* found = library ? dlsym(library, name) : nullptr;
  if (!found) refuse("no driver");
  return reinterpret_cast<Function>(found);
}

float number(std::uint16_t bits, int type) {
  if (type == 14) {
    const std::uint32_t wide = std::uint32_t{bits} << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return value;
  }
  _Float16 value;
  std::memcpy(&value, &bits, 2);
  return static_cast<float>(value);
}

std::uint16_t rounded(float value, int type) {
  std::uint16_t bits;
  if (type == 14) {
    std::uint32_t wide;
    std::memcpy(&wide, &value, 4);
    return static_cast<std::uint16_t>((wide + 0x7fff + (wide >> 16 & 1)) >> 16);
  }
  const _Float16 half = static_cast<_Float16>(value);
  std::memcpy(&bits, &half, 2);
  return bits;
}

std::vector<std::uint16_t> fetch(const void* device, std::int64_t count, void* stream) {
  std::vector<std::uint16_t> host(static_cast<std::size_t>(count));
  if (driver<int (*)(void*, const void*, std::size_t, void*)>("cuMemcpyDtoHAsync_v2")(host.data(), device, 2 * host.size(), stream) != 0) refuse("no copy");
  if (driver<int (*)(void*)>("cuStreamSynchronize")(stream) != 0) refuse("no synchronisation");
  return host;
}

}  // namespace

extern "C" {

int cublasLtCreate(void** handle) {
  static int anything;
  *handle = &anything;
  return wanted("start") ? 1 : 0;
}

int cublasLtMatmulDescCreate(void** made, int compute, int scale) {
  if (compute != 68 || scale != 0) refuse("sums that are not float32");
  *made = new Product;
  return 0;
}
int cublasLtMatmulDescSetAttribute(void* object, int attribute, const void* value, std::size_t bytes) {
  auto& product = *static_cast<Product*>(object);
  if (attribute == 3)
    take(product.transpose_a, value, bytes);
  else if (attribute == 7)
    take(product.epilogue, value, bytes);
  else if (attribute == 8)
    take(product.bias, value, bytes);
  else
    refuse("an unknown attribute of a product");
  return 0;
}
int cublasLtMatmulDescDestroy(void* object) {
  delete static_cast<Product*>(object);
  return 0;
}

int cublasLtMatrixLayoutCreate(void** made, int type, std::uint64_t rows, std::uint64_t columns, std::int64_t stride) {
  if (type != 2 && type != 14) refuse("a matrix that is not of 16 bits");
  if (stride < static_cast<std::int64_t>(rows)) refuse("columns that overlap");
  *made = new Layout{type, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns), stride};
  return 0;
}
int cublasLtMatrixLayoutSetAttribute(void* object, int attribute, const void* value, std::size_t bytes) {
  auto& layout = *static_cast<Layout*>(object);
  if (attribute == 5)
    take(layout.batch, value, bytes);
  else if (attribute == 6)
    take(layout.batch_stride, value, bytes);
  else
    refuse("an unknown attribute of a matrix");
  return 0;
}
int cublasLtMatrixLayoutDestroy(void* object) {
  delete static_cast<Layout*>(object);
  return 0;
}

int cublasLtMatmulPreferenceCreate(void** made) {
  *made = new Preference;
  return 0;
}
int cublasLtMatmulPreferenceSetAttribute(void* object, int attribute, const void* value, std::size_t bytes) {
  auto& preference = *static_cast<Preference*>(object);
  if (attribute == 1)
    take(preference.workspace, value, bytes);
  else if (attribute == 3)
    take(preference.reduction, value, bytes);
  else if (attribute >= 5 && attribute <= 8)
    take(preference.alignment[attribute - 5], value, bytes);
  else
    refuse("an unknown attribute of a preference");
  return 0;
}
int cublasLtMatmulPreferenceDestroy(void* object) {
  delete static_cast<Preference*>(object);
  return 0;
}

struct Choice {
  std::uint64_t algorithm[8];
  std::size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

constexpr std::size_t kWorkspace = 512;

int cublasLtMatmulAlgoGetHeuristic(void*, void* product, void* a, void* b, void* c, void* d, void* wishes, int most, Choice* choices, int* found) {
  const auto &weight = *static_cast<Layout*>(a), &x = *static_cast<Layout*>(b), &y = *static_cast<Layout*>(d);
  const auto& preference = *static_cast<Preference*>(wishes);
  if (static_cast<Product*>(product)->transpose_a != 1 || c != d || most < 1) refuse("another product than yT = weight xT");
  if (weight.rows != x.rows || weight.columns != y.rows || x.columns != y.columns || weight.batch != x.batch || x.batch != y.batch)
    refuse("shapes that do not fit");
  for (std::uint32_t alignment : preference.alignment) {
    if (alignment != 16) refuse("an alignment that was not promised");
  }
  if (preference.reduction != 2 || preference.workspace < kWorkspace) refuse("sums in any order");
  *found = wanted("algorithm") ? 0 : 1;
  choices[0] = {{17}, kWorkspace, 0, 1, {}};
  return 0;
}

int cublasLtMatmul(void*, void* object, const float* alpha, const void* a, void* a_layout, const void* b, void* b_layout, const float* beta, const void* c,
                   void*, void* d, void* d_layout, const std::uint64_t* algorithm, void* workspace, std::size_t workspace_bytes, void* stream) {
  if (wanted("product")) return 13;
  const auto& product = *static_cast<Product*>(object);
  const auto &weight = *static_cast<Layout*>(a_layout), &x = *static_cast<Layout*>(b_layout), &y = *static_cast<Layout*>(d_layout);
  if (*alpha != 1 || *beta != 0 || c != d || algorithm[0] != 17 || !workspace || workspace_bytes != kWorkspace) refuse("another call than was planned");
  for (const void* data : {a, b, static_cast<const void*>(d)}) {
    if (reinterpret_cast<std::uintptr_t>(data) % 16 != 0) refuse("data at an odd address");
  }
  const auto weights = fetch(a, weight.span(), stream), xs = fetch(b, x.span(), stream);
  auto ys = fetch(d, y.span(), stream);
  const auto bias = product.epilogue == 4 ? fetch(product.bias, y.rows, stream) : std::vector<std::uint16_t>();
  for (std::int64_t n = 0; n < y.batch; ++n) {
    for (std::int64_t column = 0; column < y.columns; ++column) {
      for (std::int64_t row = 0; row < y.rows; ++row) {
        float sum = 0;
        for (std::int64_t i = 0; i < x.rows; ++i) {
          sum += number(weights[n * weight.batch_stride + row * weight.stride + i], x.type) * number(xs[n * x.batch_stride + column * x.stride + i], x.type);
        }
        if (!bias.empty()) sum += number(bias[row], x.type);
        ys[n * y.batch_stride + column * y.stride + row] = rounded(sum, x.type);
      }
    }
  }
  if (driver<int (*)(void*, const void*, std::size_t, void*)>("cuMemcpyHtoDAsync_v2")(d, ys.data(), 2 * ys.size(), stream) != 0) refuse("no copy");
  if (driver<int (*)(void*)>("cuStreamSynchronize")(stream) != 0) refuse("no synchronisation");
  return 0;
}

}  // extern "C"
