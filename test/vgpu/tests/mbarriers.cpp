// mbarriers against a plain model: random programs of one thread that arrive, expect and complete bytes, drop out and ask, in every form of the instructions.
// Also the other instructions of compute capability 9.0 that order things, in short programs.
#include <cstdint>
#include <string>

#include "support.h"

namespace {

std::string module_of(const std::string& body, const std::string& attributes = "") {
  return ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 out)" + attributes +
         "\n{\n.reg .pred %p;\n.reg .b32 %bar, %w<8>;\n.reg .b64 %out, %generic, %state, %x;\n.shared .align 8 .b8 bar[16];\n.shared .align 4 .b8 box[256];\n"
         "ld.param.u64 %out, [out];\nmov.u32 %bar, bar;\ncvt.u64.u32 %x, %bar;\ncvta.shared.u64 %generic, %x;\n" +
         body + "\nret;\n}\n";
}

std::vector<unsigned> run(Gpu& gpu, const std::string& ptx, unsigned blocks, unsigned threads, std::size_t words) {
  CUdeviceptr out = gpu.upload(std::vector<unsigned>(words, 0));
  gpu.launch(gpu.load(ptx, "k"), blocks, threads, {&out});
  return gpu.download<unsigned>(out, words);
}

void compare(const std::string& what, const std::vector<unsigned>& got, const std::vector<unsigned>& expected) {
  for (std::size_t n = 0; n < expected.size(); n++) {
    if (got[n] == expected[n]) continue;
    std::printf("%s: word %zu is %u, expected %u\n", what.c_str(), n, got[n], expected[n]);
    failures++;
    return;
  }
}

/// What PTX says of an mbarrier, in the words of its manual.
struct Model {
  unsigned expected, pending, phase = 0;
  int tx = 0;
  explicit Model(unsigned count) : expected(count), pending(count) {}
  void settle() {
    if (pending > 0 || tx != 0) return;
    phase++;
    pending = expected;
  }
};

struct Program {
  std::string text;
  std::vector<unsigned> answers;
  Model model{1};
  Random random;
  unsigned waited = 0;  // phases

  explicit Program(unsigned seed) : random(seed) { start(); }

  std::string one_of(std::vector<std::string> forms) { return forms[random.next() % forms.size()]; }
  void line(const std::string& form, const std::string& operands) { text += form + " " + operands + ";\n"; }

  void start() {
    const unsigned count = 3 + random.next() % 4;
    model = Model(count);
    waited = 0;
    line(one_of({"mbarrier.init.shared::cta.b64", "mbarrier.init.shared.b64"}), "[%bar], " + std::to_string(count));
  }
  void arrive(unsigned count) {
    const std::string form =
        one_of({"mbarrier.arrive.shared::cta.b64", "mbarrier.arrive.release.cta.shared::cta.b64", "mbarrier.arrive.relaxed.cluster.shared::cta.b64",
                "mbarrier.arrive.release.cluster.shared::cluster.b64", "mbarrier.arrive.shared.b64"});
    line(form, "_, [%bar]" + (count == 1 ? "" : ", " + std::to_string(count)));
    model.pending -= count;
    model.settle();
  }
  void expect_and_arrive(int bytes) {
    line(one_of({"mbarrier.arrive.expect_tx.shared::cta.b64", "mbarrier.arrive.expect_tx.release.cta.shared::cta.b64"}), "_, [%bar], " + std::to_string(bytes));
    model.tx += bytes;
    model.pending--;
    model.settle();
  }
  void expect(int bytes) {
    line("mbarrier.expect_tx.relaxed.cta.shared::cta.b64", "[%bar], " + std::to_string(bytes));
    model.tx += bytes;
    model.settle();
  }
  void complete(int bytes) {
    line("mbarrier.complete_tx.relaxed.cta.shared::cta.b64", "[%bar], " + std::to_string(bytes));
    model.tx -= bytes;
    model.settle();
  }
  void drop() {
    line(one_of({"mbarrier.arrive_drop.shared::cta.b64", "mbarrier.arrive_drop.release.cta.shared::cta.b64"}), "_, [%bar]");
    model.expected--;
    model.pending--;
    model.settle();
  }
  void answer(unsigned value) {
    text += "selp.u32 %w0, 1, 0, %p;\nst.global.u32 [%out+" + std::to_string(4 * answers.size()) + "], %w0;\n";
    answers.push_back(value);
  }
  void ask() {
    // Of the phase that has ended since the last time, or, when none has, of any of the two.
    const unsigned parity = (model.phase != waited ? model.phase - 1 : random.next()) & 1;
    const std::string bar = one_of({"[%bar]", "[%generic]"});
    const std::string space = bar == "[%bar]" ? ".shared::cta.b64" : ".b64";
    const std::string form =
        one_of({"mbarrier.test_wait.parity", "mbarrier.try_wait.parity", "mbarrier.try_wait.parity.acquire.cta", "mbarrier.try_wait.parity.relaxed.cluster"}) +
        space;
    line(form, "%p, " + bar + ", " + std::to_string(parity) + (form.find("try") != std::string::npos && random.next() % 2 == 0 ? ", 1000" : ""));
    answer((model.phase & 1) != parity);
    waited = model.phase;
  }
  /// A state from an arrival, asked at once: the phase that it was in has ended or has not.
  void ask_state() {
    const unsigned before = model.phase;
    line("mbarrier.arrive.shared::cta.b64", "%state, [%bar]");
    model.pending--;
    model.settle();
    line(one_of({"mbarrier.test_wait.shared::cta.b64", "mbarrier.try_wait.shared::cta.b64"}), "%p, [%bar], %state");
    answer(model.phase > before);
  }
  void begin_again() {
    // In the middle of no phase: close this one first.
    if (model.tx > 0) complete(model.tx);
    if (model.pending != model.expected) arrive(model.pending);
    line("mbarrier.inval.shared::cta.b64", "[%bar]");
    start();
  }
};

void random_programs(Gpu& gpu) {
  for (unsigned seed = 1; seed <= 40; seed++) {
    Program p(seed);
    for (int n = 0; n < 80; n++) {
      const unsigned pending = p.model.pending;
      switch (p.random.next() % 9) {
        case 0: p.arrive(1 + p.random.next() % pending); break;
        case 1: p.expect_and_arrive(16 * static_cast<int>(p.random.next() % 64)); break;
        case 2: p.expect(16 * (1 + static_cast<int>(p.random.next() % 64))); break;
        case 3:
          if (p.model.tx > 0) p.complete(p.random.next() % 2 == 0 ? p.model.tx : p.model.tx / 2);
          break;
        case 4:
          if (p.model.expected > 2) p.drop();
          break;
        case 5: p.ask_state(); break;
        case 6:
          if (p.random.next() % 4 == 0) p.begin_again();
          break;
        default: p.ask();
      }
      p.ask();
      // Nothing may be missing but bytes: then only their completion goes on.
      if (p.model.pending == 0) p.complete(p.model.tx);
      p.ask();
    }
    compare("program " + std::to_string(seed), run(gpu, module_of(p.text), 1, 1, p.answers.size()), p.answers);
  }
}

/// What the other instructions do that can be seen: values that pass from thread to thread.
void order(Gpu& gpu) {
  const std::string head = "mov.u32 %w0, %tid.x;\nmov.u32 %w1, box;\nshl.b32 %w2, %w0, 2;\nadd.s32 %w1, %w1, %w2;\nst.shared.u32 [%w1], %w0;\n";
  const std::string tail =
      "xor.b32 %w2, %w2, 128;\nmov.u32 %w3, box;\nadd.s32 %w3, %w3, %w2;\nld.shared.u32 %w4, [%w3];\nshl.b32 %w2, %w0, 2;\ncvt.u64.u32 %x, %w2;\nadd.s64 %out, "
      "%out, %x;\nst.global.u32 [%out], %w4;";
  std::vector<unsigned> swapped(64);
  for (unsigned n = 0; n < 64; n++) swapped[n] = n ^ 32;
  for (const std::string sync :
       {"bar.sync 0;", "barrier.sync 3, 64;", "bar.sync 1, 64;", "barrier.sync 5;", "barrier.cta.sync 2, 64;", "barrier.sync.aligned 4, 64;",
        "barrier.cluster.arrive; barrier.cluster.wait;", "barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;",
        "barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;", "bar.arrive 6, 64; bar.sync 7, 64;"}) {
    const bool arrives = sync.find("arrive 6") != std::string::npos;
    // Arriving alone orders nothing: each warp waits at the barrier that the other has only to reach.
    const std::string text =
        arrives ? "setp.lt.u32 %p, %w0, 32;\n@%p bar.arrive 6, 64;\n@%p bar.sync 7, 64;\n@!%p barrier.arrive 7, 64;\n@!%p barrier.sync 6, 64;" : sync;
    compare(sync, run(gpu, module_of(head + text + tail), 1, 64, 64), swapped);
  }
  // Lane 1 polls for what lane 0 of its warp does after it has polled for what another warp does: none starves the other, wherever they stand.
  const std::string spin = "SPIN1:\nmbarrier.try_wait.parity.shared::cta.b64 %p, [%bar+8], 0;\n@!%p bra SPIN1;\nst.global.u32 [%out+4], 7;\nbra.uni END;\n";
  const std::string pass =
      "SPIN0:\nmbarrier.test_wait.parity.shared::cta.b64 %p, [%bar], 0;\n@!%p bra SPIN0;\nmbarrier.arrive.shared::cta.b64 _, [%bar+8];\nbra.uni END;\n";
  for (const bool first : {true, false}) {
    const std::string text =
        "mov.u32 %w0, %tid.x;\nsetp.eq.u32 %p, %w0, 0;\n@%p mbarrier.init.shared::cta.b64 [%bar], 1;\n@%p mbarrier.init.shared::cta.b64 [%bar+8], 1;\nbar.sync "
        "0;\n"
        "@%p bra ZERO;\nsetp.eq.u32 %p, %w0, 1;\n@%p bra ONE;\nsetp.eq.u32 %p, %w0, 32;\n@%p mbarrier.arrive.shared::cta.b64 _, [%bar];\nbra.uni END;\n" +
        (first ? "ONE:\n" + spin + "ZERO:\n" + pass : "ZERO:\n" + pass + "ONE:\n" + spin) + "END:\nbar.warp.sync -1;";
    compare("lanes that wait for each other", run(gpu, module_of(text), 1, 64, 2), {0, 7});
  }
  // Of a cluster of two, each block reads what the other wrote.
  const std::string cluster =
      "mov.u32 %w0, %cluster_ctarank;\nmov.u32 %w1, box;\nadd.s32 %w2, %w0, 10;\nst.shared.u32 [%w1], %w2;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\n"
      "xor.b32 %w3, %w0, 1;\nmapa.shared::cluster.u32 %w4, %w1, %w3;\nld.shared::cluster.u32 %w5, [%w4];\ngetctarank.shared::cluster.u32 %w6, %w4;\n"
      "cvt.u64.u32 %x, %w1;\ncvta.shared.u64 %x, %x;\nmapa.u64 %x, %x, %w3;\nld.u32 %w7, [%x];\nadd.s32 %w5, %w5, %w7;\nadd.s32 %w6, %w6, 100;\n"
      "barrier.cluster.arrive;\nbarrier.cluster.wait;\nst.shared::cluster.u32 [%w4+4], %w5;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\n"
      "ld.shared.u32 %w2, [%w1+4];\nshl.b32 %w0, %w0, 3;\ncvt.u64.u32 %x, %w0;\nadd.s64 %out, %out, %x;\nst.global.u32 [%out], %w2;\nst.global.u32 [%out+4], "
      "%w6;\n"
      "griddepcontrol.launch_dependents;\ngriddepcontrol.wait;\n"
      "fence.proxy.async;\nfence.proxy.async.global;\nfence.proxy.async.shared::cta;\nfence.proxy.async.shared::cluster;\nfence.mbarrier_init.release.cluster;";
  // Block 0 gets what block 1 read of it, twice, and the other way round.
  compare("cluster", run(gpu, module_of(cluster, "\n.explicitcluster\n.reqnctapercluster 2, 1, 1\n"), 2, 1, 4), {20, 101, 22, 100});
}

}  // namespace

int main() {
  return run_checks([](Gpu& gpu) {
    random_programs(gpu);
    order(gpu);
  });
}
