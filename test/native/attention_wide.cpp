// The attention kernels once more for the 16-lane stand-in, so that AVX-512's lane count and register tile are run where the
// hardware lacks them.

#define ATTN_ISA wide
#include "cpu/kernels/attention_rows.cpp"
#include "cpu/kernels/attention_tile.cpp"
