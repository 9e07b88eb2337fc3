// The small ops' vector code with 16 lanes on any processor: what AVX-512 will compute, in smaller registers.
#define ATTN_ISA wide
#include "cpu/kernels/float8_rows.cpp"
#include "cpu/kernels/linear_tile.cpp"
#include "cpu/kernels/merge_rows.cpp"
#include "cpu/kernels/rms_norm_rows.cpp"
#include "cpu/kernels/rope_rows.cpp"
