// The layout is not documented; as observed in files of nvcc 13.0:
//   header: u32 magic, u16 version = 1, u16 header bytes = 16, u64 bytes of all entries
//   entry:  u16 kind (1 PTX, 2 ELF), u16 version, u32 entry header bytes, u64 payload bytes, then at
//           +16 u32 compressed bytes (0: plain), +28 u32 architecture, +40 u64 flags, +56 u64 uncompressed bytes; the payload follows
// A PTX payload is padded with newlines and NULs. The architecture says 90 for sm_90a too, so the text's .target decides.
#include "fatbin.h"

#include <cctype>
#include <cstdint>
#include <cstring>

namespace vgpu::driver {
namespace {

constexpr std::uint32_t kMagic = 0xBA55ED50;
constexpr std::uint16_t kPtx = 1;

template <class T>
T read(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::string target_of(const std::string& ptx) {
  std::size_t at = ptx.find(".target");
  if (at == std::string::npos) {
    return "";
  }
  at = ptx.find("sm_", at);
  std::size_t end = at;
  while (end < ptx.size() && (std::isalnum(static_cast<unsigned char>(ptx[end])) || ptx[end] == '_')) {
    end++;
  }
  return at == std::string::npos ? "" : ptx.substr(at, end - at);
}

}  // namespace

bool target_fits(const std::string& target, int capability) {
  if (target.rfind("sm_", 0) != 0) {
    return false;
  }
  std::size_t digits = 0;
  const int number = std::stoi(target.substr(3), &digits);
  const std::string suffix = target.substr(3 + digits);
  if (suffix == "a") {
    return number == capability;
  }
  if (suffix == "f") {
    return number <= capability && number / 10 == capability / 10;
  }
  return suffix.empty() && number <= capability;
}

ImageError find_ptx(const void* image, int capability, std::string& ptx) {
  const char* bytes = static_cast<const char*>(image);
  if (std::memcmp(bytes, "\177ELF", 4) == 0) {
    return ImageError::kNoBinary;
  }
  if (read<std::uint32_t>(bytes) != kMagic) {
    ptx = bytes;
    const std::string target = target_of(ptx);
    if (target.empty()) {
      return ImageError::kInvalidImage;
    }
    return target_fits(target, capability) ? ImageError::kNone : ImageError::kInvalidPtx;
  }
  const char* entry = bytes + read<std::uint16_t>(bytes + 6);
  const char* end = entry + read<std::uint64_t>(bytes + 8);
  int best = -1;
  while (entry + 64 <= end) {
    const std::uint32_t header_bytes = read<std::uint32_t>(entry + 4);
    const std::uint64_t payload_bytes = read<std::uint64_t>(entry + 8);
    if (header_bytes < 64 || payload_bytes > static_cast<std::uint64_t>(end - entry) - header_bytes) {
      return ImageError::kInvalidImage;
    }
    const bool plain = read<std::uint32_t>(entry + 16) == 0;
    const int architecture = static_cast<int>(read<std::uint32_t>(entry + 28));
    if (read<std::uint16_t>(entry) == kPtx && plain && architecture > best) {
      const char* text = entry + header_bytes;
      std::string candidate(text, strnlen(text, payload_bytes));
      if (target_fits(target_of(candidate), capability)) {
        ptx = std::move(candidate);
        best = architecture;
      }
    }
    entry += header_bytes + payload_bytes;
  }
  return best < 0 ? ImageError::kNoBinary : ImageError::kNone;
}

}  // namespace vgpu::driver
