// The attention kernels for bfloat16 once more for a stand-in that runs anywhere.

#define ATTN_ISA widebf16
#include "cpu/kernels/attention_rows_bf16.cpp"
