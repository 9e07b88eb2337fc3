#include "fragments.h"

#include <cstring>

#include "half.h"

namespace vgpu {
namespace {

float low_half(std::uint32_t bits, MmaElement element) {
  return element == MmaElement::kF16 ? f16_to_float(static_cast<std::uint16_t>(bits)) : bf16_to_float(static_cast<std::uint16_t>(bits));
}

// The tensor cores look at the upper 19 bits of a tf32 operand only.
float tf32_to_float(std::uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000u); }

void read_a(const MmaShape& s, const std::uint32_t* const a[], float (&out)[16][16]) {
  for (int q = 0; q < registers_of_a(s); q++) {
    for (int lane = 0; lane < kLanes; lane++) {
      const int row = lane_group(lane) + 8 * (q % 2);
      if (s.element == MmaElement::kTf32) {
        out[row][lane_thread(lane) + 4 * (q / 2)] = tf32_to_float(a[q][lane]);
      } else {
        const int column = 2 * lane_thread(lane) + 8 * (q / 2);
        out[row][column] = low_half(a[q][lane], s.element);
        out[row][column + 1] = low_half(a[q][lane] >> 16, s.element);
      }
    }
  }
}

void read_b(const MmaShape& s, const std::uint32_t* const b[], float (&out)[16][8]) {
  for (int q = 0; q < registers_of_b(s); q++) {
    for (int lane = 0; lane < kLanes; lane++) {
      const int column = lane_group(lane);
      if (s.element == MmaElement::kTf32) {
        out[lane_thread(lane) + 4 * q][column] = tf32_to_float(b[q][lane]);
      } else {
        const int row = 2 * lane_thread(lane) + 8 * q;
        out[row][column] = low_half(b[q][lane], s.element);
        out[row + 1][column] = low_half(b[q][lane] >> 16, s.element);
      }
    }
  }
}

}  // namespace

// The products are summed in float32, k ascending in two chains. The hardware sums in another order and truncates, so that the bits
// of a result cannot be compared with a GPU's.
void mma(const MmaShape& s, std::uint32_t* const d[], const std::uint32_t* const a[], const std::uint32_t* const b[], const std::uint32_t* const c[]) {
  float A[16][16];
  float B[16][8];
  float C[16][8];
  read_a(s, a, A);
  read_b(s, b, B);
  for (int q = 0; q < registers_of_c(s); q++) {
    for (int lane = 0; lane < kLanes; lane++) {
      const int column = 2 * lane_thread(lane);
      if (s.f16_accumulate) {
        C[lane_group(lane) + 8 * q][column] = f16_to_float(static_cast<std::uint16_t>(c[q][lane]));
        C[lane_group(lane) + 8 * q][column + 1] = f16_to_float(static_cast<std::uint16_t>(c[q][lane] >> 16));
      } else {
        C[lane_group(lane) + 8 * (q / 2)][column + q % 2] = std::bit_cast<float>(c[q][lane]);
      }
    }
  }
  for (int row = 0; row < 16; row++) {
    float odd[8] = {};
    for (int k = 0; k < s.k; k += 2) {
      for (int n = 0; n < 8; n++) {
        C[row][n] += A[row][k] * B[k][n];
        odd[n] += A[row][k + 1] * B[k + 1][n];
      }
    }
    for (int n = 0; n < 8; n++) {
      C[row][n] += odd[n];
    }
  }
  for (int q = 0; q < registers_of_c(s); q++) {
    for (int lane = 0; lane < kLanes; lane++) {
      const int column = 2 * lane_thread(lane);
      if (s.f16_accumulate) {
        const std::uint32_t low = float_to_f16(C[lane_group(lane) + 8 * q][column]);
        const std::uint32_t high = float_to_f16(C[lane_group(lane) + 8 * q][column + 1]);
        d[q][lane] = low | high << 16;
      } else {
        d[q][lane] = std::bit_cast<std::uint32_t>(C[lane_group(lane) + 8 * (q / 2)][column + q % 2]);
      }
    }
  }
}

void matrix_to_register(const std::uint16_t matrix[64], bool transposed, LaneValues& out) {
  for (int lane = 0; lane < kLanes; lane++) {
    const int g = lane_group(lane);
    const int t = 2 * lane_thread(lane);
    const std::uint32_t low = transposed ? matrix[8 * t + g] : matrix[8 * g + t];
    const std::uint32_t high = transposed ? matrix[8 * (t + 1) + g] : matrix[8 * g + t + 1];
    out[lane] = low | high << 16;
  }
}

void register_to_matrix(const LaneValues& in, bool transposed, std::uint16_t matrix[64]) {
  for (int lane = 0; lane < kLanes; lane++) {
    const int g = lane_group(lane);
    const int t = 2 * lane_thread(lane);
    matrix[transposed ? 8 * t + g : 8 * g + t] = static_cast<std::uint16_t>(in[lane]);
    matrix[transposed ? 8 * (t + 1) + g : 8 * g + t + 1] = static_cast<std::uint16_t>(in[lane] >> 16);
  }
}

}  // namespace vgpu
