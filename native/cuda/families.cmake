# THE list of compiled kernels: attn_kernels(<op> <family>) makes native/cuda/kernels/<op>/<family>.cu one image of the addon.
# Family sm80: machine code for compute capability 8.0, which 8.x runs, and PTX, which newer devices compile. Family sm90a: for 9.0 alone.
attn_kernels(attention sm80)
attn_kernels(attention sm90a)
attn_kernels(attention_decode sm90a)
attn_kernels(attention_split sm80)
attn_kernels(copy sm80)
attn_kernels(linear sm80)
attn_kernels(merge sm80)
attn_kernels(mla_decode sm80)
attn_kernels(paged_kv sm80)
attn_kernels(rms_norm sm80)
attn_kernels(rope sm80)
