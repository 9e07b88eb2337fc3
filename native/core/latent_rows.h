#pragma once
// The cache rows of DeepSeek's MLA in float8_e4m3, in the public layout of FlashMLA: rows in and out of their pages. Slots and page numbers are
// checked here, before anything is enqueued.

#include <cstdint>

#include "core/enqueue.h"
#include "core/latent_row.h"
#include "core/tensor.h"

namespace attn {

/// Quantises rows into their slots, in float32: the scale of a group is max(amax / 448, 2^-126), with amax the largest |x| of it that is not NaN; an
/// element is x / scale, rounded to nearest even, beyond ±448 ±448, NaN stays NaN. Thus a group of zeros has the scale 2^-126, NaN spoils its
/// own place only, and an infinity makes the scale infinite and all of its group NaN when it is read (0 · inf). Rope keys are rounded to
/// bfloat16.
struct LatentAppendProblem {
  TensorView ckv;      // [batch, new_len, 512] of a compute dtype, any strides
  TensorView k_pe;     // [batch, new_len, 64] of a compute dtype, any strides
  TensorView latents;  // [num_pages, page_size, 656]
  HostInts slots;      // [batch · new_len]: page · page_size + offset, -1 skips a row
};

/// Rows as numbers: the latent, each element · its scale in float32 and then rounded to the dtype of dst, and the rope key behind it.
struct LatentGatherProblem {
  TensorView latents;  // [num_pages, page_size, 656]
  TensorView dst;      // [len, 576] of a compute dtype, contiguous
  HostInts page_list;
  std::int64_t begin = 0;  // first row, counted over the pages of the list
};

/// Throws unless these are pages of LatentRow.
void check_latent_rows(const TensorView& latents);

/// ckv [batch, new_len, 512] and k_pe [batch, new_len, 64] into latents [num_pages, page_size, 656].
void latent_append(const Tensor& ckv, const Tensor& k_pe, const Tensor& latents, HostInts slots);

/// Rows begin … end - 1 of the sequence whose pages are listed: [end - begin, 576] of a compute dtype.
Tensor latent_gather(const Tensor& latents, HostInts page_list, std::int64_t begin, std::int64_t end, DType dtype);

}  // namespace attn
