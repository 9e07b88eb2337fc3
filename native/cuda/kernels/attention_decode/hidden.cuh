#pragma once
// Values that are not finite where rows see different keys: 0 · NaN is NaN, so such a value must not meet the probability 0 of a row that it is
// hidden from. Rare: the tile holds the edge of some row's view and something that is not finite. Those elements are then added one by one to the
// rows that see them, and replaced by zeros before the product.

#include "cuda/kernels/attention_decode/softmax.cuh"

namespace attn::cuda {

/// T: the values' elements in memory.
template <class T>
__device__ __forceinline__ bool is_finite_bits(unsigned low) {
  if constexpr (sizeof(T) == 1) {
    return (low & 0x7f) != 0x7f;
  } else {
    return (low & kExponentBits<T>) != kExponentBits<T>;
  }
}

template <class T, DecodeTile kTile>
struct HiddenValues {
  using Layout = DecodeLayout<kTile>;
  static constexpr int kLaneBits = 8 * sizeof(T), kPerWord = 4 / sizeof(T);

  char* shared;
  char* values;  // the tile
  int warp, lane;

  __device__ int* found() const { return reinterpret_cast<int*>(shared + Layout::kFoundAt); }

  /// Calls word(bits) for each 32-bit word of this thread's share of the tile.
  template <class Word>
  __device__ void for_words(Word word) const {
    constexpr int kThreads = 32 * kTile.kConsumerWarps;
#pragma unroll 1
    for (int n = 32 * warp + lane; n < Layout::kTileBytes / 4; n += kThreads) word(reinterpret_cast<unsigned*>(values)[n]);
  }

  /// For all to read after sync_consumers().
  __device__ void search() const {
    bool any = false;
    for_words([&](unsigned& bits) {
#pragma unroll
      for (int i = 0; i < kPerWord; ++i) any = any || !is_finite_bits<T>(bits >> (i * kLaneBits));
    });
    any = __any_sync(kFullWarp, any);
    if (lane == 0) found()[warp] = any;
  }
  __device__ bool was_found() const {
    const int4 all = *reinterpret_cast<const int4*>(found());
    return (all.x | all.y | all.z | all.w) != 0;
  }

  /// Adds them to the accumulators, and leaves zeros in their places. Operand: the type of the probabilities. Holds two barriers; one must follow.
  template <class Operand, class Products>
  __device__ void add(float (&o)[Products::kFeatureTiles][Products::kAccumulators], const Products& products, int key0) const {
    const RowFacts* facts = reinterpret_cast<const RowFacts*>(shared + Layout::kFactsAt);
    const char* probabilities = shared + Layout::kProbabilitiesAt;
    sync_consumers();  // all probabilities are there
#pragma unroll 1
    for (int key = 0; key < kTile.kKeys; ++key) {
#pragma unroll
      for (int m = 0; m < Products::kFeatureTiles; ++m) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int feature = products.feature(m, h), at = feature % Layout::kBoxFeatures * static_cast<int>(sizeof(T));
          const char* box = values + feature / Layout::kBoxFeatures * Layout::kBoxBytes;
          const T x = *reinterpret_cast<const T*>(box + key * kTile.kBoxRowBytes + ((at / 16) ^ (key % 8)) * 16 + at % 16);
          const float value = to_float(x);
          if (isfinite(value)) continue;
#pragma unroll
          for (int r = 0; r < kTile.rows / 4; ++r) {
            const int row = r / 2 * 8 + lane % 4 * 2 + r % 2;
            if (key0 + key < facts[row].from || key0 + key >= facts[row].to) continue;
            const Operand probability = *reinterpret_cast<const Operand*>(probabilities + swizzled_column(row, products.position(key)));
            o[m][r / 2 * 4 + 2 * h + r % 2] += to_float(probability) * value;
          }
        }
      }
    }
    sync_consumers();  // nobody reads the values any more
    for_words([&](unsigned& bits) {
#pragma unroll
      for (int i = 0; i < kPerWord; ++i) {
        if (!is_finite_bits<T>(bits >> (i * kLaneBits))) bits &= ~(((1u << kLaneBits) - 1) << (i * kLaneBits));
      }
    });
  }
};

}  // namespace attn::cuda
