// async_rules NAME [kept]: one short program that breaks one rule of asynchronous instructions, or the same with the rule kept.
// Exit status 0: nothing found, 2: an error of the driver.
#include <map>

#include "support.h"

namespace {

struct Rule {
  std::string body;
  unsigned threads = 64;
  unsigned blocks = 1;
  std::string attributes;
};

// Thread 0 has initialised bar (1 arrival) and other (1 arrival); %lead: thread 0. data: 4 KiB of numbers. tile: 1 KiB.
const std::string kHead =
    ".reg .pred %lead, %p, %second;\n.reg .b32 %tid, %bar, %other, %tile, %w<4>;\n.reg .b64 %data, %x, %state;\n"
    ".shared .align 128 .b8 tile[1024];\n.shared .align 8 .b8 bar[8];\n.shared .align 8 .b8 other[8];\n"
    "ld.param.u64 %data, [data];\nmov.u32 %tid, %tid.x;\nmov.u32 %bar, bar;\nmov.u32 %other, other;\nmov.u32 %tile, tile;\nsetp.eq.u32 %lead, %tid, 0;\n"
    "setp.ge.u32 %second, %tid, 32;\n"
    "@%lead mbarrier.init.shared::cta.b64 [%bar], 1;\n@%lead mbarrier.init.shared::cta.b64 [%other], 1;\n@%lead fence.mbarrier_init.release.cluster;\nbar.sync "
    "0;\n";

std::string copy_in(const std::string& bar = "%bar") {
  return "@%lead mbarrier.arrive.expect_tx.shared::cta.b64 _, [" + bar +
         "], 1024;\n@%lead cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%tile], [%data], 1024, [" + bar + "];\n";
}
const std::string kCopyOut = "cp.async.bulk.global.shared::cta.bulk_group [%data], [%tile], 1024;\n@%lead cp.async.bulk.commit_group;\n";

int labels = 0;
std::string wait(const std::string& bar, int parity, const std::string& guard = "") {
  const std::string label = "W" + std::to_string(labels++);
  const std::string over = guard.empty() ? "" : "@!" + guard + " bra E" + label + ";\n";
  return over + label + ":\nmbarrier.try_wait.parity.shared::cta.b64 %p, [" + bar + "], " + std::to_string(parity) + ";\n@!%p bra " + label + ";\nE" + label +
         ":\n";
}

/// The rules, each kept or broken.
std::map<std::string, Rule> rules(bool kept) {
  const auto if_kept = [&](const std::string& text) { return kept ? text : std::string(); };
  const auto if_broken = [&](const std::string& text) { return kept ? std::string() : text; };
  const std::string arrive = "@%lead mbarrier.arrive.shared::cta.b64 _, [%bar];\n";
  const std::string fill = "shl.b32 %w1, %tid, 4;\nadd.s32 %w1, %tile, %w1;\nst.shared.v4.u32 [%w1], {%tid, %tid, %tid, %tid};\n";
  const std::string fence = "fence.proxy.async.shared::cta;\n", sync = "bar.sync 0;\n", read = "ld.shared.u32 %w0, [%tile];\n";
  const std::string stored = "@%lead cp.async.bulk.wait_group 0;\n", sent = "@%lead cp.async.bulk.wait_group.read 0;\n";
  const std::string cluster_sync = "barrier.cluster.arrive;\nbarrier.cluster.wait;\n", pair = ".reqnctapercluster 2, 1, 1\n";
  return {
      // A wait that comes too late asks for a parity that means another phase by now.
      {"late_wait",
       {"@%second bra WAIT;\n" + arrive + if_kept("bar.sync 1, 64;\n") + arrive + if_kept("bar.sync 1, 64;\n") + arrive + "bar.sync 2, 64;\nbra END;\nWAIT:\n" +
        if_kept(wait("%bar", 0) + "bar.sync 1, 64;\n" + wait("%bar", 1) + "bar.sync 1, 64;\n") + wait("%bar", 0) + "bar.sync 2, 64;\nEND:\n"}},
      {"old_state", {"mbarrier.arrive.shared::cta.b64 %state, [%bar];\n" + if_broken(arrive) + "mbarrier.test_wait.shared::cta.b64 %p, [%bar], %state;\n", 1}},
      // One lane has waited; the others have not until the lanes synchronise.
      {"wait_by_one_lane", {copy_in() + wait("%bar", 0, "%lead") + if_kept("bar.warp.sync -1;\n") + "ld.shared.u32 %w0, [%tile+16];\n", 32}},
      {"arrive_by_one_lane",
       {"@%second bra READ;\nshl.b32 %w1, %tid, 2;\nadd.s32 %w1, %tile, %w1;\nst.shared.u32 [%w1], %tid;\n" + if_kept("bar.warp.sync -1;\n") + arrive +
        "bra END;\nREAD:\n" + wait("%bar", 0) + "ld.shared.u32 %w0, [%tile+20];\nEND:\n"}},
      // Who waits for one phase has not acquired what is released into the next.
      {"arrival_of_the_next_phase",
       {"@%lead mbarrier.inval.shared::cta.b64 [%other];\n@%lead mbarrier.init.shared::cta.b64 [%other], 2;\nbar.sync 0;\n@%second bra READ;\n@!%lead bra "
        "END;\n" +
        if_kept("st.shared.u32 [%tile], %tid;\n") + "mbarrier.arrive.shared::cta.b64 _, [%other], 2;\n" + if_broken("st.shared.u32 [%tile], %tid;\n") +
        "mbarrier.arrive.shared::cta.b64 _, [%other];\nbra END;\nREAD:\n" + wait("%other", 0) + read + "END:\n"}},
      {"copy_onto_unread", {fill + fence + sync + "@%lead " + kCopyOut + if_kept(sent) + copy_in() + wait("%bar", 0) + stored}},
      {"copy_onto_written", {fill + if_kept(fence) + sync + copy_in() + wait("%bar", 0)}},
      {"copy_onto_being_read",
       {fill + fence + sync + "xor.b32 %w2, %tid, 32;\nshl.b32 %w2, %w2, 4;\nadd.s32 %w2, %tile, %w2;\nld.shared.u32 %w3, [%w2];\n" + if_kept(sync) +
        copy_in() + wait("%bar", 0)}},
      {"two_copies_to_one_place", {copy_in() + if_kept(wait("%bar", 0)) + copy_in("%other") + wait("%other", 0) + if_broken(wait("%bar", 0))}},
      {"exit_before_a_copy_lands", {copy_in() + if_kept(wait("%bar", 0))}},
      {"wait_for_another_copy",
       {copy_in() + "@%lead mbarrier.arrive.shared::cta.b64 _, [%other];\n" + wait(kept ? "%bar" : "%other", 0) + read + wait("%bar", 0)}},
      {"source_written_by_threads",
       {"cvt.u64.u32 %x, %tid;\nshl.b64 %x, %x, 4;\nadd.s64 %x, %x, %data;\nst.global.v4.u32 [%x], {%tid, %tid, %tid, %tid};\n" +
        if_kept("fence.proxy.async.global;\n") + sync + copy_in() + wait("%bar", 0)}},
      {"read_of_a_store_in_flight", {fill + fence + sync + "@%lead " + kCopyOut + (kept ? stored : sent) + "@%lead ld.global.u32 %w0, [%data];\n"}},
      {"inval_in_a_phase",
       {"@%lead mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%bar], 16;\n" +
        if_kept("@%lead mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%bar], 16;\n") + "@%lead mbarrier.inval.shared::cta.b64 [%bar];\n"}},
      {"use_after_inval", {"@%lead mbarrier.inval.shared::cta.b64 [%bar];\n" + if_broken(arrive)}},
      {"bytes_after_inval",
       {"@%lead mbarrier.inval.shared::cta.b64 [%bar];\n" + if_kept("@%lead st.shared.u32 [%bar], %tid;\n") + "@%lead ld.shared.u32 %w0, [%bar];\n"}},
      {"generic_fence", {fill + (kept ? fence : "fence.acq_rel.gpu;\n") + sync + "@%lead " + kCopyOut + stored}},
      {"fence_before_the_write", {if_broken(fence) + fill + if_kept(fence) + sync + "@%lead " + kCopyOut + stored}},
      {"fence_after_the_barrier", {fill + if_kept(fence) + sync + if_broken(fence) + "@%lead " + kCopyOut + stored}},
      {"copy_without_syncwarp",
       {fill + fence + if_kept("bar.warp.sync -1;\n") + "@%lead cp.async.bulk.global.shared::cta.bulk_group [%data], [%tile], 512;\n" +
            "@%lead cp.async.bulk.commit_group;\n" + stored,
        32}},
      {"block_has_exited",
       {"mov.u32 %w0, %cluster_ctarank;\n" + cluster_sync + "setp.eq.u32 %p, %w0, 1;\n@%p bra LAST;\nmapa.shared::cluster.u32 %w1, %bar, 1;\n" +
            // Block 0 comes when block 1 has gone: nothing else tells it.
            if_broken("bar.sync 1;\nmbarrier.try_wait.parity.shared::cta.b64 %p, [%bar], 0;\n") +
            "@%lead mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%w1];\nLAST:\n" + if_kept(cluster_sync),
        32, 2, pair}},
      {"blocks_of_a_cluster",
       {"mov.u32 %w0, %cluster_ctarank;\nst.shared.u32 [%tile+4], %w0;\n" + if_kept(cluster_sync) +
            "xor.b32 %w1, %w0, 1;\nmapa.shared::cluster.u32 %w1, %tile, %w1;\nld.shared::cluster.u32 %w2, [%w1+4];\n" + cluster_sync,
        1, 2, pair}},
      {"barrier_twice", {"bar.arrive 1, 96;\n" + if_broken("bar.arrive 1, 96;\n")}},
      {"barrier_for_one_warp",
       {"@%lead st.shared.u32 [%tile], %tid;\nbar.sync 1, " + std::string(kept ? "64" : "32") + ";\n" + "@%second ld.shared.u32 %w0, [%tile];\n"}},
      {"barrier_of_half_a_warp", {"setp.lt.u32 %p, %tid, 16;\n" + std::string(kept ? "" : "@%p ") + "bar.sync 1, 64;\n"}},
  };
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) return 3;
  try {
    const Rule rule = rules(count > 2).at(arguments[1]);
    const std::string ptx =
        ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 data)\n" + rule.attributes + "{\n" + kHead + rule.body + "ret;\n}\n";
    Gpu gpu;
    CUdeviceptr data = gpu.upload(std::vector<unsigned>(1024, 7));
    gpu.launch(gpu.load(ptx, "k"), rule.blocks, rule.threads, {&data});
    return 0;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 2;
  }
}
