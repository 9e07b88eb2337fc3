// race KERNEL: launches one kernel with a race (or, with "apart" in its name, without one). Exit status 0: nothing found, 2: an error of the driver.
#include "support.h"

namespace {

const char* const kPtx = R"(.version 9.0
.target sm_80
.address_size 64
.visible .entry neighbour(.param .u64 data)
{
.reg .pred %p; .reg .b32 %r, %c; .reg .b64 %a;
ld.param.u64 %a, [data];
mov.u32 %c, %ctaid.x;
setp.eq.s32 %p, %c, 0;
@%p ld.global.u32 %r, [%a];
@!%p st.global.u32 [%a], %c;
ret;
}
.visible .entry neighbour_apart(.param .u64 data)
{
.reg .pred %p; .reg .b32 %r, %c; .reg .b64 %a;
ld.param.u64 %a, [data];
mov.u32 %c, %ctaid.x;
setp.eq.s32 %p, %c, 0;
@%p ld.global.u32 %r, [%a];
@!%p st.global.u32 [%a+4], %c;
ret;
}
.visible .entry counter(.param .u64 data)
{
.shared .align 4 .b8 count[4];
.reg .b32 %r, %s;
mov.u32 %s, count;
atom.shared.add.u32 %r, [%s], 1;
ret;
}
.visible .entry counter_apart(.param .u64 data)
{
.shared .align 4 .b8 count[4];
.reg .pred %p; .reg .b32 %r, %s, %t;
mov.u32 %s, count;
mov.u32 %t, %tid.x;
setp.eq.s32 %p, %t, 0;
@%p st.shared.u32 [%s], 0;
bar.sync 0;
atom.shared.add.u32 %r, [%s], 1;
ret;
}
)";

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 3;
  try {
    Gpu gpu;
    CUdeviceptr data = gpu.upload(std::vector<unsigned>{1, 2});
    gpu.launch(gpu.load(kPtx, arguments[1]), 2, 64, {&data});
    return 0;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 2;
  }
}
