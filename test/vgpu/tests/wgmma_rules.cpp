// wgmma_rules NAME [kept]: one short program that breaks one rule of wgmma or setmaxnreg, or the same with the rule kept.
// Exit status 0: nothing found, 2: an error of the driver.
#include <map>

#include "support.h"

namespace {

struct Rule {
  std::string body;
  unsigned threads = 128;
};

// tile: 64 rows of A and 64 of B, 128 bytes each; %a and %b their descriptors with the 128-byte swizzle, %n that of B as rows of 64 bytes with the 64-byte
// swizzle. %d: accumulators of n = 16, %w: of n = 48, %r: registers of A.
// %lead: warp 0, %last: warp 3, %second: the second warpgroup.
const std::string kHead =
    ".reg .pred %lead, %last, %second, %p;\n.reg .b32 %tid, %tile, %at, %i, %r<4>;\n.reg .b64 %a, %b, %n;\n.reg .f32 %d<8>, %e<8>, %w<24>, %x;\n"
    ".shared .align 1024 .b8 tile[16384];\n"
    "mov.u32 %tid, %tid.x;\nmov.u32 %tile, tile;\nsetp.lt.u32 %lead, %tid, 32;\nsetp.ge.u32 %last, %tid, 96;\nsetp.ge.u32 %second, %tid, 128;\n"
    "mov.u64 %a, 4611686293305360384;\nadd.s64 %b, %a, 512;\nmov.u64 %n, -9223371899415756288;\nmov.u32 %r0, 0;\nmov.u32 %r1, 0;\nmov.u32 %r2, 0;\nmov.u32 %r3, 0;\n";

std::string fill(int bytes) {
  return "@%second bra FILLED;\nmov.u32 %i, 0;\nFILL: shl.b32 %at, %tid, 4;\nadd.s32 %at, %at, %i;\nadd.s32 %at, %at, %tile;\n"
         "st.shared.v4.u32 [%at], {%tid, %i, %tid, %i};\nadd.s32 %i, %i, 2048;\nsetp.lt.u32 %p, %i, " +
         std::to_string(bytes) + ";\n@%p bra FILL;\nFILLED:\n";
}

std::string zeros(const std::string& name) {
  std::string text;
  for (int n = 0; n < 8; n++) text += "mov.f32 %" + name + std::to_string(n) + ", 0f00000000;\n";
  return text;
}

std::string product(const std::string& guard = "", const std::string& a = "%a", const std::string& b = "%b", const std::string& d = "d", int n = 16,
                    const std::string& add = "1", int major_b = 0) {
  std::string list;
  for (int i = 0; i < n / 2; i++) list += (i == 0 ? "{%" : ", %") + d + std::to_string(i);
  return guard + "wgmma.mma_async.sync.aligned.m64n" + std::to_string(n) + "k16.f32.bf16.bf16 " + list + "}, " + a + ", " + b + ", " + add +
         (a[0] == '{' ? ", 1, 1, " : ", 1, 1, 0, ") + std::to_string(major_b) + ";\n";
}

const std::string kFence = "wgmma.fence.sync.aligned;\n", kCommit = "wgmma.commit_group.sync.aligned;\n", kWait = "wgmma.wait_group.sync.aligned 0;\n",
                  kSync = "bar.sync 0;\n";

std::map<std::string, Rule> rules(bool kept) {
  const auto if_kept = [&](const std::string& text) { return kept ? text : std::string(); };
  const auto if_broken = [&](const std::string& text) { return kept ? std::string() : text; };
  const std::string ready = fill(16384) + "fence.proxy.async;\n" + kSync + zeros("d") + zeros("e"), start = ready + kFence;
  const std::string finish = kCommit + kWait, registers = "{%r0, %r1, %r2, %r3}", touch = "add.f32 %x, %d7, %d7;\n",
                    overwrite = "st.shared.u32 [%tile+8192], %tid;\n";
  const auto with_b = [&](const std::string& change) { return start + if_broken(change) + product() + finish; };
  // 48 rows, or 32 columns and the next 16.
  const auto narrow = [&](const std::string& change, int major_b) {
    return start + "add.s64 %n, %n, " + std::to_string(major_b != 0 ? std::uint64_t{1024 / 16 - 1} << 16 : 0) + ";\n" + if_broken(change) +
           product("", "%a", "%n", "w", 48, "0", major_b) + finish;
  };
  const auto changed = [&](unsigned value) { return "add.s64 %b, %b, " + std::to_string(value) + ";\n"; };
  const auto registers_of = [&](const char* what, int count) {
    return "setmaxnreg." + std::string(what) + ".sync.aligned.u32 " + std::to_string(count) + ";\n";
  };
  return {
      {"accumulator_read", {start + product() + kCommit + if_broken(touch) + kWait + touch}},
      {"accumulator_written", {start + product() + kCommit + if_broken("mov.f32 %d3, 0f00000000;\n") + kWait}},
      {"accumulator_guarded", {start + product() + kCommit + if_broken("@%lead mov.f32 %x, %d3;\n") + kWait}},
      {"register_of_a_written", {start + product("", registers) + kCommit + if_broken("mov.u32 %r1, 1;\n") + kWait}},
      {"register_of_a_read", {start + product("", registers) + kCommit + if_broken("st.shared.u32 [%tile], %r3;\n") + kWait}},
      // Two products may read the same registers of A.
      {"register_of_a_shared", {start + product("", registers) + product("", registers, "%b", "e") + kCommit + if_broken("mov.u32 %r1, 1;\n") + kWait}},
      // A wait covers what was committed before, not the last group that may stay.
      {"group_that_stays",
       {start + product() + kCommit + product("", "%a", "%b", "e") + kCommit + "wgmma.wait_group.sync.aligned 1;\n" + touch +
        if_broken("add.f32 %x, %e0, %e0;\n") + kWait}},
      {"never_committed_before_the_wait", {start + if_kept(product() + kCommit) + if_broken(product()) + kWait + touch + if_broken(kCommit + kWait)}},
      {"another_shape_in_its_accumulators", {start + product() + if_kept(finish + kFence) + product("", "%a", "%b", "d", 8) + finish}},
      {"no_first_fence", {ready + if_kept(kFence) + product() + finish}},
      {"no_fence_after_a_write", {start + product() + finish + "mov.f32 %d0, 0f00000000;\n" + if_kept(kFence) + product() + finish}},
      {"no_fence_after_a_read", {start + product() + finish + touch + if_kept(kFence) + product() + finish}},
      {"no_fence_after_a_write_of_a", {start + product("", registers) + finish + "mov.u32 %r2, 1;\n" + if_kept(kFence) + product("", registers) + finish}},
      {"never_committed", {start + product() + if_kept(finish)}},
      {"never_waited_for", {start + product() + kCommit + if_kept(kWait)}},
      {"half_a_warp", {start + "and.b32 %i, %tid, 31;\nsetp.lt.u32 %p, %i, 16;\n" + product(kept ? "" : "@%p ") + finish}},
      {"half_a_warp_commits", {start + "and.b32 %i, %tid, 31;\nsetp.lt.u32 %p, %i, 16;\n" + product() + (kept ? "" : "@%p ") + kCommit + kWait}},
      {"descriptors_of_lanes", {with_b("and.b32 %i, %tid, 1;\ncvt.u64.u32 %a, %i;\nshl.b64 %a, %a, 1;\nadd.s64 %a, %a, 4611686293305360384;\n")}},
      {"descriptors_of_warps", {with_b("@%last add.s64 %b, %b, 2;\n")}},
      {"scale_d_of_warps",
       {start + "setp.eq.u32 %p, %tid, %tid;\n" + if_broken("@%last setp.ne.u32 %p, %tid, %tid;\n") + product("", "%a", "%b", "d", 16, "%p") + finish}},
      {"products_of_warps", {start + if_broken("@%last bra OTHER;\n") + product() + "bra OVER;\nOTHER:\n" + product() + "OVER:\n" + finish}},
      {"a_warp_stays_away", {start + if_broken("@%last bra END;\n") + product() + finish + "END:\n"}},
      {"groups_of_warps", {start + product() + if_broken("@%last bra ONE;\n") + if_broken(kCommit + "ONE:\n") + product("", "%a", "%b", "e") + finish}},
      {"three_warps", {start + product() + finish, kept ? 128u : 96u}},
      {"offset_by_a_row", {with_b(changed(128 / 16))}},
      {"beyond_the_row", {with_b(changed(112 / 16))}},
      {"base_offset", {with_b("or.b64 %b, %b, " + std::to_string(std::uint64_t{1} << 49) + ";\n")}},
      {"reserved_bits", {with_b("or.b64 %b, %b, " + std::to_string(std::uint64_t{1} << 46) + ";\n")}},
      {"stride", {with_b("sub.s64 %b, %b, " + std::to_string(std::uint64_t{512 / 16} << 32) + ";\n")}},
      {"row_of_64_bytes", {narrow("add.s64 %n, %n, 4;\n", 0)}},
      {"beyond_64_bytes", {narrow("add.s64 %n, %n, 3;\n", 0)}},
      {"stride_of_64_bytes", {narrow("sub.s64 %n, %n, " + std::to_string(std::uint64_t{256 / 16} << 32) + ";\n", 0)}},
      {"columns_of_64_bytes", {narrow("add.s64 %n, %n, " + std::to_string(std::uint64_t{256 / 16} << 16) + ";\n", 1)}},
      {"outside", {with_b(changed((16384 - 8192 - 1024) / 16))}},
      {"unwritten", {fill(kept ? 16384 : 8192) + "fence.proxy.async;\n" + kSync + zeros("d") + kFence + product() + finish}},
      {"no_proxy_fence", {fill(16384) + if_kept("fence.proxy.async;\n") + kSync + zeros("d") + kFence + product() + finish}},
      {"no_barrier_after_the_write", {fill(16384) + "fence.proxy.async;\n" + if_kept(kSync) + zeros("d") + kFence + product() + finish}},
      {"operand_written_after_the_issue", {start + product() + kCommit + if_broken("@%lead " + overwrite) + kWait + if_kept("@%lead " + overwrite), 128}},
      {"operand_released_before_the_wait",
       {start + "@%second bra WRITE;\n" + product() + kCommit + if_broken("bar.sync 1, 256;\n") + kWait + if_kept("bar.sync 1, 256;\n") +
            "bra END;\nWRITE:\nbar.sync 1, 256;\nsetp.eq.u32 %p, %tid, 128;\n@%p " + overwrite + "END:\n",
        256}},
      // A product is one of the whole warpgroup: any of its warps knows that the reads of all four are over.
      {"released_by_one_warp",
       {start + "@%second bra WRITE;\n" + product() + kCommit + if_broken("@%lead bar.arrive 1, 160;\n") + kWait + if_kept("@%lead bar.arrive 1, 160;\n") +
            "bra END;\nWRITE:\nbar.sync 1, 160;\nsetp.eq.u32 %p, %tid, 128;\n@%p " + overwrite + "END:\n",
        256}},
      {"inc_to_fewer", {registers_of(kept ? "dec" : "inc", 64)}},
      {"dec_to_more", {registers_of("dec", 64) + kSync + registers_of(kept ? "inc" : "dec", 128)}},
      {"no_barrier_between", {registers_of("dec", 64) + if_kept(kSync) + registers_of("dec", 40)}},
      {"half_a_warpgroup", {if_broken("@%last bra END;\n") + registers_of("dec", 64) + "END:\n"}},
      {"counts_of_warps", {if_broken("@%last bra OTHER;\n") + registers_of("dec", 64) + "bra END;\nOTHER:\n" + registers_of("dec", 72) + "END:\n"}},
      {"diverged_count", {"and.b32 %i, %tid, 31;\nsetp.lt.u32 %p, %i, 16;\n" + std::string(kept ? "" : "@%p ") + registers_of("dec", 64)}},
      // 512 threads begin with 128 registers each.
      {"more_than_the_pool",
       {"setp.ge.u32 %p, %tid, 256;\n@%p bra END;\n@%second bra INC;\n" + registers_of("dec", 40) + "bra END;\nINC:\n" + registers_of("inc", kept ? 216 : 224) +
            "END:\n",
        512}},
  };
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) return 3;
  try {
    const Rule rule = rules(count > 2).at(arguments[1]);
    const std::string ptx = ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 data)\n{\n" + kHead + rule.body + "ret;\n}\n";
    Gpu gpu;
    CUdeviceptr data = gpu.empty(16);
    gpu.launch(gpu.load(ptx, "k"), 1, rule.threads, {&data});
    return 0;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 2;
  }
}
