// The kernel of linear for bfloat16 once more for a stand-in that runs anywhere.

#define ATTN_ISA widebf16
#include "cpu/kernels/linear_tile_bf16.cpp"
