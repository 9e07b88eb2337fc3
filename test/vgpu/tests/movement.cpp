// Instructions that move data, between memories and between lanes: 32 lanes with 16 bytes each, and what must arrive where.
#include <cstdint>
#include <cstring>
#include <functional>

#include "support.h"

namespace {

using u8 = std::uint8_t;
using Bytes = std::vector<u8>;

constexpr std::size_t kLanes = 32, kWidth = 16;

/// What a kernel gets by value as its third parameter.
struct Parameter {
  std::uint64_t wide = 0x1122334455667788;
  std::uint32_t word = 0x99aabbcc, words[2] = {0xddeeff01, 0x02030405};
  float number = 1.5f, numbers[2] = {-2.25f, 3.0f};
  u8 byte = 0xa7, gap = 0, bytes[2] = {0x51, 0x52}, rest[4] = {};
};
static_assert(sizeof(Parameter) == 40);

struct Case {
  std::string text;  // from [%from] (and %lane, %mine, %next: this lane's and the next lane's place in shared memory, [arg]) to [%to]
  std::function<Bytes(const Bytes& in)> model;
};

std::string module_of(const std::string& text) {
  return ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out, .param .align 16 .b8 arg[40])\n{\n"
         ".reg .b64 %from, %to, %x, %q<4>;\n.reg .b32 %lane, %mine, %next, %w<8>;\n.reg .f32 %f<4>;\n.reg .f64 %d0;\n.reg .b16 %h<4>;\n.reg .pred %p, %s;\n"
         ".shared .align 16 .b8 box[512];\n"
         "ld.param.u64 %from, [in];\nld.param.u64 %to, [out];\ncvta.to.global.u64 %from, %from;\ncvta.to.global.u64 %to, %to;\nmov.u32 %lane, %tid.x;\n"
         "mul.wide.u32 %x, %lane, 16;\nadd.s64 %from, %from, %x;\nadd.s64 %to, %to, %x;\n"
         "mov.u32 %mine, box;\nadd.s32 %w0, %lane, 1;\nand.b32 %w0, %w0, 31;\nshl.b32 %w0, %w0, 4;\nadd.s32 %next, %mine, %w0;\nshl.b32 %w0, %lane, 4;\n"
         "add.s32 %mine, %mine, %w0;\n" +
         text + "\nret;\n}\n";
}

/// The first `count` bytes of each lane as they are; zeros behind.
std::function<Bytes(const Bytes&)> same(std::size_t count, std::size_t lanes_on = 0) {
  return [=](const Bytes& in) {
    Bytes out(in.size());
    for (std::size_t lane = 0; lane < kLanes; lane++) std::memcpy(&out[lane * kWidth], &in[(lane + lanes_on) % kLanes * kWidth], count);
    return out;
  };
}

/// The same word in each lane, made from the lane's number.
std::function<Bytes(const Bytes&)> word(std::function<std::uint32_t(std::uint32_t)> value) {
  return [=](const Bytes& in) {
    Bytes out(in.size());
    for (std::uint32_t lane = 0; lane < kLanes; lane++) {
      const std::uint32_t v = value(lane);
      std::memcpy(&out[lane * kWidth], &v, 4);
    }
    return out;
  };
}

std::function<Bytes(const Bytes&)> of_parameter(std::size_t offset, std::size_t count) {
  return [=](const Bytes& in) {
    const Parameter parameter;
    Bytes out(in.size());
    for (std::size_t lane = 0; lane < kLanes; lane++) std::memcpy(&out[lane * kWidth], reinterpret_cast<const char*>(&parameter) + offset, count);
    return out;
  };
}

/// Lane's part of matrix m, of four whose rows are the lanes' 16 bytes in turn: two neighbours of a row, or of a column when transposed.
std::function<Bytes(const Bytes&)> matrices(std::size_t count, bool transposed) {
  return [=](const Bytes& in) {
    Bytes out(in.size());
    for (std::size_t lane = 0; lane < kLanes; lane++) {
      for (std::size_t m = 0; m < count; m++) {
        for (std::size_t i = 0; i < 2; i++) {
          const std::size_t along = lane % 4 * 2 + i, across = lane / 4;
          const std::size_t row = transposed ? along : across, column = transposed ? across : along;
          std::memcpy(&out[lane * kWidth + 4 * m + 2 * i], &in[(8 * m + row) * kWidth + 2 * column], 2);
        }
      }
    }
    return out;
  };
}

/// As matrices(), the other way round, into shared memory that holds the input: what lanes have in `count` registers becomes rows of 16 bytes.
std::function<Bytes(const Bytes&)> stored(std::size_t count, bool transposed) {
  return [=](const Bytes& in) {
    Bytes out = in;
    for (std::size_t lane = 0; lane < kLanes; lane++) {
      for (std::size_t m = 0; m < count; m++) {
        for (std::size_t i = 0; i < 2; i++) {
          const std::size_t along = lane % 4 * 2 + i, across = lane / 4;
          const std::size_t row = transposed ? along : across, column = transposed ? across : along;
          std::memcpy(&out[(8 * m + row) * kWidth + 2 * column], &in[lane * kWidth + 4 * m + 2 * i], 2);
        }
      }
    }
    return out;
  };
}

const std::string kFill = "ld.global.v4.u32 {%w0,%w1,%w2,%w3}, [%from];\nst.shared.v4.u32 [%mine], {%w0,%w1,%w2,%w3};\nbar.sync 0;\n";
const std::string kStore = "st.global.v4.u32 [%to], {%w0,%w1,%w2,%w3};";

std::vector<Case> cases() {
  return {
      // global memory and back
      {"ld.global.u8 %h0, [%from]; st.global.u8 [%to], %h0;", same(1)},
      {"ld.global.u16 %h0, [%from]; st.global.u16 [%to], %h0;", same(2)},
      {"ld.global.u32 %w0, [%from]; st.global.u32 [%to], %w0;", same(4)},
      {"ld.global.s32 %w0, [%from]; st.global.u32 [%to], %w0;", same(4)},
      {"ld.global.f32 %f0, [%from]; st.global.f32 [%to], %f0;", same(4)},
      {"ld.global.u64 %q0, [%from]; st.global.u64 [%to], %q0;", same(8)},
      {"ld.global.f64 %d0, [%from]; mov.b64 %q0, %d0; st.global.u64 [%to], %q0;", same(8)},
      {"ld.global.v2.u32 {%w0,%w1}, [%from]; st.global.v2.u32 [%to], {%w0,%w1};", same(8)},
      {"ld.global.v2.u16 {%h0,%h1}, [%from]; st.global.u16 [%to], %h0; st.global.u16 [%to+2], %h1;", same(4)},
      {"ld.global.v4.u32 {%w0,%w1,%w2,%w3}, [%from]; " + kStore, same(16)},
      {"ld.global.v4.u16 {%h0,%h1,%h2,%h3}, [%from]; st.global.v4.u16 [%to], {%h0,%h1,%h2,%h3};", same(8)},
      {"ld.global.v4.u8 {%h0,%h1,%h2,%h3}, [%from]; st.global.v4.u8 [%to], {%h0,%h1,%h2,%h3};", same(4)},
      {"ld.global.v4.f32 {%f0,%f1,%f2,%f3}, [%from]; st.global.v4.f32 [%to], {%f0,%f1,%f2,%f3};", same(16)},
      {"ld.global.v4.f32 {%f0,%f1,%f2,%f3}, [%from]; st.global.v2.f32 [%to], {%f0,%f1};", same(8)},
      // addresses of no particular memory
      {"ld.u8 %h0, [%from]; st.global.u8 [%to], %h0;", same(1)},
      {"ld.u16 %h0, [%from]; st.global.u16 [%to], %h0;", same(2)},
      {"ld.f32 %f0, [%from]; st.global.f32 [%to], %f0;", same(4)},
      // by way of the next lane's place in shared memory
      {"ld.global.f32 %f0, [%from]; st.shared.f32 [%mine], %f0; bar.sync 0; ld.shared.f32 %f1, [%next]; st.global.f32 [%to], %f1;", same(4, 1)},
      {"ld.global.u32 %w0, [%from]; st.shared.u32 [%mine], %w0; bar.warp.sync -1; ld.shared.u32 %w1, [%next]; st.global.u32 [%to], %w1;", same(4, 1)},
      {"ld.global.v4.f32 {%f0,%f1,%f2,%f3}, [%from]; st.shared.v2.f32 [%mine], {%f0,%f1}; bar.sync 0; ld.shared.v2.f32 {%f2,%f3}, [%next]; "
       "st.global.v2.f32 [%to], {%f2,%f3};",
       same(8, 1)},
      {"ld.global.u64 %q0, [%from]; ld.global.u64 %q1, [%from+8]; st.shared.v2.u64 [%mine], {%q0,%q1}; bar.sync 0; ld.shared.u64 %q2, [%next]; "
       "ld.shared.u64 %q3, [%next+8]; st.global.u64 [%to], %q2; st.global.u64 [%to+8], %q3;",
       same(16, 1)},
      {kFill + "ld.shared.v4.u32 {%w0,%w1,%w2,%w3}, [%next]; " + kStore, same(16, 1)},
      {kFill + "ld.shared.v4.f32 {%f0,%f1,%f2,%f3}, [%next]; st.global.v4.f32 [%to], {%f0,%f1,%f2,%f3};", same(16, 1)},
      {kFill + "ld.shared.u16 %h0, [%next]; st.global.u16 [%to], %h0;", same(2, 1)},
      {kFill + "ld.shared.u8 %h0, [%next]; st.global.u8 [%to], %h0;", same(1, 1)},
      // copies that land when they are waited for; with 8 bytes asked for, zeros fill the rest
      {"cp.async.cg.shared.global [%mine], [%from], 16; cp.async.commit_group ; cp.async.wait_group 0; bar.sync 0; "
       "ld.shared.v4.u32 {%w0,%w1,%w2,%w3}, [%next]; " +
           kStore,
       same(16, 1)},
      {"mov.u32 %w4, 8; cp.async.cg.shared.global [%mine], [%from], 16, %w4; cp.async.commit_group ; cp.async.wait_group 0; bar.sync 0; "
       "ld.shared.v4.u32 {%w0,%w1,%w2,%w3}, [%next]; " +
           kStore,
       same(8, 1)},
      // matrices of 8 x 8
      {kFill + "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%w0,%w1}, [%mine]; st.global.v2.u32 [%to], {%w0,%w1};", matrices(2, false)},
      {kFill + "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%w0,%w1,%w2,%w3}, [%mine]; " + kStore, matrices(4, false)},
      {kFill + "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%w0,%w1,%w2,%w3}, [%mine]; " + kStore, matrices(4, true)},
      {kFill + "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%w0}, [%mine]; st.global.u32 [%to], %w0;", matrices(1, false)},
      // stored as matrices and read back by rows: the four matrices are rows 0-7, 8-15, … of 16 bytes
      {"ld.global.v4.u32 {%w0,%w1,%w2,%w3}, [%from]; stmatrix.sync.aligned.m8n8.x4.shared.b16 [%mine], {%w0,%w1,%w2,%w3}; bar.warp.sync -1; "
       "ld.shared.v4.u32 {%w0,%w1,%w2,%w3}, [%mine]; " + kStore,
       stored(4, false)},
      {"ld.global.v4.u32 {%w0,%w1,%w2,%w3}, [%from]; stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%mine], {%w0,%w1,%w2,%w3}; bar.warp.sync -1; "
       "ld.shared.v4.u32 {%w0,%w1,%w2,%w3}, [%mine]; " + kStore,
       stored(4, true)},
      {kFill + "stmatrix.sync.aligned.m8n8.x2.shared.b16 [%mine], {%w0,%w1}; bar.warp.sync -1; ld.shared.v4.u32 {%w0,%w1,%w2,%w3}, [%mine]; " + kStore,
       stored(2, false)},
      {kFill + "stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%mine], {%w0,%w1}; bar.warp.sync -1; ld.shared.v4.u32 {%w0,%w1,%w2,%w3}, [%mine]; " + kStore,
       stored(2, true)},
      {kFill + "stmatrix.sync.aligned.m8n8.x1.shared.b16 [%mine], {%w0}; bar.warp.sync -1; ld.shared.v4.u32 {%w0,%w1,%w2,%w3}, [%mine]; " + kStore,
       stored(1, false)},
      {"ld.global.u32 %w0, [%from]; movmatrix.sync.aligned.m8n8.trans.b16 %w1, %w0; st.global.u32 [%to], %w1;",
       [](const Bytes& in) {
         Bytes out(in.size());
         for (std::size_t lane = 0; lane < kLanes; lane++) {  // row lane / 4, columns 2 (lane % 4) + i of the transposed matrix
           for (std::size_t i = 0; i < 2; i++) {
             const std::size_t row = lane % 4 * 2 + i, column = lane / 4;
             std::memcpy(&out[lane * kWidth + 2 * i], &in[(row * 4 + column / 2) * kWidth + column % 2 * 2], 2);
           }
         }
         return out;
       }},
      {kFill + "ld.shared.u8 %h0, [%next+3]; ld.shared.u16 %h1, [%next+6]; st.global.v2.u16 [%to], {%h0,%h1};",
       [](const Bytes& in) {
         Bytes out(in.size());
         for (std::size_t lane = 0; lane < kLanes; lane++) {
           const std::size_t next = (lane + 1) % kLanes * kWidth;
           out[lane * kWidth] = in[next + 3];
           std::memcpy(&out[lane * kWidth + 2], &in[next + 6], 2);
         }
         return out;
       }},
      {"ld.global.v2.u16 {%h0,%h1}, [%from]; st.global.v2.u16 [%to], {%h0,%h1};", same(4)},
      // between lanes: one is elected, whichever; all agree who
      {"elect.sync %w0|%p, -1; setp.eq.u32 %s, %w0, %lane; mov.u32 %w1, 0; @%p mov.u32 %w1, 1; mov.u32 %w2, 0; @%s mov.u32 %w2, 1; sub.s32 %w3, %w1, %w2; "
       "vote.sync.ballot.b32 %w4, %p, -1; popc.b32 %w5, %w4; add.s32 %w3, %w3, %w5; st.global.u32 [%to], %w3;",
       word([](auto) { return 1; })},
      {"mul.lo.s32 %w0, %lane, 7; shfl.sync.bfly.b32 %w1|%p, %w0, 5, 31, -1; st.global.u32 [%to], %w1;", word([](auto lane) { return 7 * (lane ^ 5); })},
      {"mul.lo.s32 %w0, %lane, 7; and.b32 %w2, %lane, 24; shfl.sync.idx.b32 %w1|%p, %w0, %w2, 31, -1; st.global.u32 [%to], %w1;",
       word([](auto lane) { return 7 * (lane & 24); })},
      {"setp.eq.s32 %p, %lane, 9; vote.sync.any.pred %s, %p, -1; selp.b32 %w0, 3, 4, %s; st.global.u32 [%to], %w0;", word([](auto) { return 3; })},
      {"setp.eq.s32 %p, %lane, 32; vote.sync.any.pred %s, %p, -1; selp.b32 %w0, 3, 4, %s; st.global.u32 [%to], %w0;", word([](auto) { return 4; })},
      {"setp.ne.s32 %p, %lane, 9; vote.sync.all.pred %s, %p, -1; selp.b32 %w0, 3, 4, %s; st.global.u32 [%to], %w0;", word([](auto) { return 4; })},
      {"setp.ne.s32 %p, %lane, 32; vote.sync.all.pred %s, %p, -1; selp.b32 %w0, 3, 4, %s; st.global.u32 [%to], %w0;", word([](auto) { return 3; })},
      // parameters
      {"ld.param.u64 %q0, [arg]; st.global.u64 [%to], %q0;", of_parameter(0, 8)},
      {"ld.param.u32 %w0, [arg+8]; st.global.u32 [%to], %w0;", of_parameter(8, 4)},
      {"ld.param.s32 %w0, [arg+8]; st.global.u32 [%to], %w0;", of_parameter(8, 4)},
      {"ld.param.v2.u32 {%w0,%w1}, [arg+8]; st.global.v2.u32 [%to], {%w0,%w1};", of_parameter(8, 8)},
      {"ld.param.v2.u64 {%q0,%q1}, [arg]; st.global.v2.u64 [%to], {%q0,%q1};", of_parameter(0, 16)},
      {"ld.param.v4.u32 {%w0,%w1,%w2,%w3}, [arg]; " + kStore, of_parameter(0, 16)},
      {"ld.param.f32 %f0, [arg+20]; st.global.f32 [%to], %f0;", of_parameter(20, 4)},
      {"ld.param.v2.f32 {%f0,%f1}, [arg+24]; st.global.v2.f32 [%to], {%f0,%f1};", of_parameter(24, 8)},
      {"ld.param.u8 %h0, [arg+32]; st.global.u8 [%to], %h0;", of_parameter(32, 1)},
      {"ld.param.v2.u8 {%h0,%h1}, [arg+34]; st.global.u8 [%to], %h0; st.global.u8 [%to+1], %h1;", of_parameter(34, 2)},
      // a loop of as many rounds as the lane's number, and a way around
      {"mov.u32 %w0, 0; mov.u32 %w1, 100; AGAIN: setp.ge.s32 %p, %w0, %lane; @%p bra OUT; add.s32 %w0, %w0, 1; add.s32 %w1, %w1, 3; bra.uni AGAIN; "
       "OUT: st.global.u32 [%to], %w1;",
       word([](auto lane) { return 100 + 3 * lane; })},
  };
}

}  // namespace

int main() {
  try {
    Gpu gpu;
    int wrong = 0;
    const std::vector<Case> all = cases();
    for (const Case& c : all) {
      Random random(11);
      Bytes in(kLanes * kWidth);
      for (u8& byte : in) byte = static_cast<u8>(random.next());
      // Ordinary numbers, so that floats may pass through registers of floats.
      for (std::size_t k = 3; k < in.size(); k += 4) in[k] = static_cast<u8>(0x3d + in[k] % 4);
      CUdeviceptr from = gpu.upload(in), to = gpu.upload(Bytes(in.size()));
      Parameter parameter;
      gpu.launch(gpu.load(module_of(c.text), "k"), 1, kLanes, {&from, &to, &parameter});
      if (gpu.download<u8>(to, in.size()) == c.model(in)) continue;
      std::printf("%s: wrong\n", c.text.c_str());
      wrong++;
    }
    std::printf("%zu instructions, %d wrong\n", all.size(), wrong);
    return wrong == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 2;
  }
}
