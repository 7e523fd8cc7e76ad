// `gradus bench`: forward and backward of losses on the CPU, one thread: time (best and median), peak memory besides the
// inputs, and the ratio to PyTorch measured in the same run, where Debian's python3-torch is installed. (GPU: bench_gpu.cpp.)
//
// Best is the machine, median what one gets beside other work; ratios compare best with best. PyTorch runs at its best
// settings: each case twice, with the allocator as it comes and with one that keeps its pages (tests/bench/torch_losses.py),
// and the faster one counts.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/backward.h"
#include "engine/parallel.h"
#include "tutorials/cli/bench_cases.h"
#include "tutorials/cli/bench_gpu.h"
#include "tutorials/cli/commands.h"

namespace gradus::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Timing {
  double best = 0, median = 0;  // milliseconds
  double peak = 0;              // MiB
};

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

// One step: the loss, its gradients, and these dropped again.
void step(const LossInfo& info, const Arguments& a) {
  Tape tape;
  const Tensor y = info.run(a);
  if (!Tape::holding(y)) return;
  BackwardPass pass(tape);
  pass.seed(y, ones(y.shape(), y.dtype()));
  pass.finish();
  for (auto [name, x] : a.inputs) {
    if (x) x.zero_grad();
  }
}

Timing measure(const char* loss, Inputs inputs, const Options& options, double seconds) {
  const LossInfo& info = find_loss(loss);
  for (const InputSpec& spec : info.inputs) {
    if (spec.kind == Kind::real && inputs.contains(spec.name)) inputs[spec.name].requires_grad_();
  }
  // Targets are data here, as in the peer.
  for (const char* target : {"targets", "target_probs"}) {
    if (inputs.contains(target)) inputs[target] = inputs[target].detach();
  }
  const Arguments a = arguments_for(info, inputs, options, Form::closed);
  reset_peak_memory();
  const auto before = memory_use().live_bytes;
  step(info, a);
  Timing t{.peak = double(memory_use().peak_bytes - before) / (1 << 20)};
  std::vector<double> all;
  const auto start = std::chrono::steady_clock::now();
  while (all.size() < 5 || (milliseconds_since(start) < 1000 * seconds && all.size() < 3000)) {
    const auto one = std::chrono::steady_clock::now();
    step(info, a);
    all.push_back(milliseconds_since(one));
  }
  std::sort(all.begin(), all.end());
  t.best = all.front(), t.median = all[all.size() / 2];
  return t;
}

// ---- the peer

// OpenBLAS 0.3.21 takes processors it does not know for ones without AVX, unless told.
std::string settings(bool keep_pages) {
  std::string s = "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 ";
  std::ifstream cpu("/proc/cpuinfo");
  const std::string text{std::istreambuf_iterator<char>(cpu), {}};
  if (text.find("avx512f") != std::string::npos) s += "OPENBLAS_CORETYPE=SKYLAKEX ";
  if (keep_pages) {
    s += "MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1000000000000 MALLOC_TOP_PAD_=268435456 "
         "GLIBC_TUNABLES=glibc.malloc.hugetlb=1 ";
  }
  return s;
}

struct Peer {
  std::string script, version;  // version empty: there is none
};

Peer find_peer(bool wanted) {
  Peer peer{GRADUS_SOURCE_DIR "/tests/bench/torch_losses.py", ""};
  if (wanted && std::filesystem::exists(peer.script)) {
    peer.version = output_of("/usr/bin/python3 " + peer.script + " --version 2>/dev/null");
    while (!peer.version.empty() && peer.version.back() == '\n') peer.version.pop_back();
  }
  return peer;
}

// The faster of the two settings; best 0 when the peer has no such case.
Timing measure_peer(const Peer& peer, const char* name) {
  Timing t;
  for (const bool keep_pages : {false, true}) {
    std::istringstream line(
        output_of(settings(keep_pages) + "/usr/bin/python3 " + peer.script + " " + name + " 2>/dev/null"));
    Timing one;
    if (line >> one.best >> one.median >> one.peak && (t.best == 0 || one.best < t.best)) t = one;
  }
  return t;
}

// ---- tables

int speed_table(const BenchRequest& request, Json& json) {
  const Peer peer = find_peer(request.peer);
  std::printf("forward + backward, f32, one thread; ratio: PyTorch's best time over ours, both measured now\n");
  std::printf(peer.version.empty() ? "no PyTorch here (Debian: python3-torch), so no ratios\n" : "peer: torch %s\n",
              peer.version.c_str());
  std::printf("%-20s %-22s %10s %10s %9s | %10s %10s %9s | %7s %7s\n", "loss", "shape", "best ms", "median", "peak MiB",
              "torch ms", "median", "peak MiB", "ratio", "wanted");
  int missed = 0, found = 0;
  for (const BenchCase& c : bench_cases()) {
    if (!request.name.empty() && request.name != c.name && request.name != c.loss) continue;
    ++found;
    Rng rng(1);
    const Timing ours = measure(c.loss, c.inputs(rng), c.options, request.seconds);
    const Timing theirs = peer.version.empty() ? Timing{} : measure_peer(peer, c.name);
    const double ratio = theirs.best / ours.best;
    std::printf("%-20s %-22s %10.4g %10.4g %9.1f", c.name, c.shape, ours.best, ours.median, ours.peak);
    if (theirs.best > 0) {
      std::printf(" | %10.4g %10.4g %9.1f | %7.1f", theirs.best, theirs.median, theirs.peak, ratio);
      if (c.wanted > 0) std::printf(" %7.1f%s", c.wanted, ratio < c.wanted ? " MISSED" : "");
      missed += ratio < c.wanted;
    }
    std::printf("\n");
    std::fflush(stdout);
    json.push_back({{"name", c.name},
                    {"shape", c.shape},
                    {"best_ms", ours.best},
                    {"median_ms", ours.median},
                    {"peak_mib", ours.peak},
                    {"torch_best_ms", theirs.best},
                    {"torch_median_ms", theirs.median},
                    {"torch_peak_mib", theirs.peak},
                    {"ratio", theirs.best > 0 ? Json(ratio) : Json(nullptr)},
                    {"wanted", c.wanted}});
  }
  if (found == 0) fail("bench", "there is no case '" + request.name + "'; without a name all are measured");
  return missed ? 1 : 0;
}

// The slope of log time over log n, by least squares.
double fitted_exponent(const std::vector<Index>& n, const std::vector<double>& ms) {
  double x = 0, y = 0, xx = 0, xy = 0, count = double(n.size());
  for (std::size_t i = 0; i < n.size(); ++i) {
    const double lx = std::log(double(n[i])), ly = std::log(ms[i]);
    x += lx, y += ly, xx += lx * lx, xy += lx * ly;
  }
  return (count * xy - x * y) / (count * xx - x * x);
}

int scaling_table(const BenchRequest& request, Json& json) {
  std::printf("time over size, forward + backward, f32, one thread; best ms\n");
  for (const ScalingCase& c : scaling_cases()) {
    if (!request.name.empty() && request.name != c.name && request.name != c.loss) continue;
    std::printf("%-20s", c.name);
    std::vector<double> best;
    for (const Index n : c.sizes) {
      Rng rng(1);
      best.push_back(measure(c.loss, c.inputs(n, rng), c.options, request.seconds / 2).best);
      std::printf("  %s=%lld: %.4g", c.size, static_cast<long long>(n), best.back());
      std::fflush(stdout);
    }
    const double exponent = fitted_exponent(c.sizes, best);
    std::printf("  -> %s^%.2f (by count %s^%g, times a logarithm where it sorts)\n", c.size, exponent, c.size,
                c.exponent);
    json.push_back({{"name", c.name}, {"sizes", c.sizes}, {"best_ms", best}, {"exponent", exponent}});
  }
  return 0;
}

}  // namespace

std::string output_of(const std::string& command) {
  std::string text;
  if (FILE* pipe = popen(command.c_str(), "r")) {
    for (int c; (c = std::fgetc(pipe)) != EOF;) text += char(c);
    pclose(pipe);
  }
  return text;
}

int bench(const BenchRequest& request) {
  if (!default_device().is_cpu()) return bench_gpu(request);
  set_thread_count(1);
  Json json = Json::array();
  const int code = request.scaling ? scaling_table(request, json) : speed_table(request, json);
  if (!request.json.empty()) {
    std::ofstream file(request.json);
    file << json.dump(1) << "\n";
    if (!file) fail("bench", "cannot write " + request.json);
  }
  return code;
}

}  // namespace gradus::cli
