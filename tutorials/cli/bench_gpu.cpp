// `gradus bench --device cuda`. Of each case: the time of a step as it is written and replayed from a captured graph, what
// share of that time the card would need at best, the peak of memory besides the inputs, and PyTorch's figures of this run.
//
// At best: the bytes at the speed of copying 1 GiB and the operations at that of a large matrix product, both measured first.
// The peer runs before, in a process of its own, so that neither holds memory while the other is measured.
//
// With --seconds 0 every case runs once or twice at a hundredth of its sizes, only to see that it works: this is what an
// emulated GPU can do.
#include "tutorials/cli/bench_gpu.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "ops/matmul.h"
#include "tutorials/cli/bench_gpu_peer.h"

namespace gradus::cli {

Index Sizes::operator[](const std::string& name) const {
  const auto found = std::find_if(list.begin(), list.end(), [&](const auto& size) { return size.first == name; });
  if (found == list.end()) fail("bench", "a case has no size " + name);
  return found->second;
}

std::string Sizes::text() const {
  std::string all;
  for (const auto& [name, n] : list) all += (all.empty() ? "" : " ") + name + "=" + std::to_string(n);
  return all;
}

Sizes Sizes::hundredth() const {
  Sizes small = *this;
  for (auto& size : small.list) size.second = std::max<Index>(4, size.second / 400 * 4);  // widths divide into 4 heads
  return small;
}

namespace {

// ---- time and memory of a step

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Seconds of one f: the median of batches long enough that waiting for the GPU at their end does not count.
double time_of(Device& device, double seconds, const std::function<void()>& f) {
  const auto batch = [&](int count) {
    device.synchronize();
    const auto start = Clock::now();
    for (int k = 0; k < count; ++k) f();
    device.synchronize();
    return seconds_since(start) / count;
  };
  const double first = batch(1);
  if (seconds == 0) return first;
  const int count = int(std::clamp(0.02 / batch(1), 1.0, 2000.0));
  std::vector<double> all;
  const auto start = Clock::now();
  while (all.size() < 5 || (seconds_since(start) < seconds && all.size() < 1000)) all.push_back(batch(count));
  std::nth_element(all.begin(), all.begin() + std::ptrdiff_t(all.size() / 2), all.end());
  return all[all.size() / 2];
}

struct Measured {
  double eager = 0, replayed = 0;  // seconds; replayed 0: it cannot be captured, for the reason below
  double peak = 0;                 // MiB
  std::string why_not;
  double best() const { return replayed > 0 ? std::min(eager, replayed) : eager; }
};

Measured measure(Device& device, double seconds, const Trial& trial) {
  Measured m;
  trial.step();  // what is made once is made now
  device.memory.reset_peak();
  const auto before = device.memory.use().live_bytes;
  trial.step();
  m.peak = double(device.memory.use().peak_bytes - before) / (1 << 20);
  m.eager = time_of(device, seconds, trial.step);
  try {
    const auto graph = device.capture(trial.step);
    graph->replay();
    m.replayed = time_of(device, seconds, [&] { graph->replay(); });
  } catch (const Error& e) { m.why_not = e.what(); }
  return m;
}

// ---- what the card can do

struct Ceilings {
  double bytes = 0, exact = 0, tf32 = 0, bf16 = 0;  // a second
  double operations(MatmulPrecision p) const {
    return p == MatmulPrecision::exact ? exact : p == MatmulPrecision::tf32 ? tf32 : bf16;
  }
  // Seconds that a step takes at least.
  double floor(const Trial& t, MatmulPrecision p) const {
    return std::max(t.bytes / bytes, t.operations / operations(p));
  }
};

double product_rate(Device& device, double seconds, MatmulPrecision precision, Index n) {
  Rng rng(1);
  const Tensor row = randn({1, n}, rng), a = matmul(ones({n, 1}), row), b = a.clone();
  set_matmul_precision(precision);
  const double time = time_of(device, seconds, [&] { matmul(a, b); });
  set_matmul_precision(MatmulPrecision::exact);
  return 2 * double(n) * double(n) * double(n) / time;
}

Ceilings ceilings(Device& device, double seconds) {
  const bool smoke = seconds == 0;
  const Index floats = smoke ? 1 << 16 : 1 << 28;
  const Tensor from = ones({floats});
  Tensor to = empty({floats});
  Ceilings c;
  const std::size_t bytes = std::size_t(floats) * sizeof(float);
  float* target = to.data_mut<float>();
  c.bytes = 2 * double(bytes) / time_of(device, seconds, [&] { device.copy(target, from.data<float>(), bytes); });
  if (!smoke && c.bytes < 5e10) return c;  // no GPU, see below
  c.exact = product_rate(device, seconds, MatmulPrecision::exact, smoke ? 64 : 8192);
  c.tf32 = product_rate(device, seconds, MatmulPrecision::tf32, smoke ? 64 : 8192);
  c.bf16 = product_rate(device, seconds, MatmulPrecision::bf16, smoke ? 64 : 16384);  // rounding the inputs weighs less
  return c;
}

// ---- the table

std::string name_of_card(const Peer& peer) {
  std::string name = output_of("nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1");
  if (name.empty()) name = peer.about.value("device", std::string());
  while (!name.empty() && name.back() == '\n') name.pop_back();
  return name.empty() ? "a device without a name" : name;
}

void write(const BenchRequest& request, const Json& json) {
  if (request.json.empty()) return;
  std::ofstream file(request.json);
  file << json.dump(1) << "\n";
  if (!file) fail("bench", "cannot write " + request.json);
}

std::vector<const GpuCase*> chosen(const BenchRequest& request) {
  std::vector<const GpuCase*> cases;
  for (const GpuCase& c : gpu_cases()) {
    if (request.name.empty() || request.name == c.name) cases.push_back(&c);
  }
  if (cases.empty()) fail("bench", "on a GPU there is no case '" + request.name + "'; without a name all are measured");
  return cases;
}

// The figures of one case, printed as a row as well; without times where none are meant.
Json row(Device& device, const GpuCase& c, const Ceilings& ceiling, const Json& peer, double seconds) {
  const Sizes sizes = seconds == 0 ? c.sizes.hundredth() : c.sizes;
  Json figures = {{"name", c.name}, {"sizes", sizes.text()}, {"precision", word_for(c.precision)}};
  std::printf("%-15s %-32s", c.name, sizes.text().c_str());
  std::fflush(stdout);
  Rng rng(1);
  set_matmul_precision(c.precision);
  try {
    const Trial trial = c.make(sizes, rng);
    const Measured m = measure(device, seconds, trial);
    figures["peak_mib"] = m.peak;
    if (seconds == 0) {
      std::printf(" runs%s\n", m.why_not.empty() ? ", and replays" : (", no replay: " + m.why_not).c_str());
    } else {
      const double floor = ceiling.floor(trial, c.precision), share = 100 * floor / m.best(), best = best_of(peer);
      figures["eager_ms"] = 1e3 * m.eager;
      figures["replayed_ms"] = m.replayed > 0 ? Json(1e3 * m.replayed) : Json(nullptr);
      figures["floor_ms"] = 1e3 * floor;
      figures["share_of_floor"] = share / 100;
      figures["peer"] = peer;
      figures["ratio"] = best > 0 ? Json(best / (1e3 * m.best())) : Json(nullptr);
      std::printf(" %9.4g", 1e3 * m.eager);
      std::printf(m.replayed > 0 ? " %9.4g" : "         -", 1e3 * m.replayed);
      std::printf(" %9.4g %6.1f %9.1f", 1e3 * floor, share, m.peak);
      if (best > 0) std::printf(" %6.2f", best / (1e3 * m.best()));
      std::printf("  %s\n", text_of(peer).c_str());
    }
    if (!m.why_not.empty()) figures["no_replay"] = m.why_not;
  } catch (const Error& e) {  // one case that does not fit must not cost the figures of the others
    figures["error"] = e.what();
    std::printf(" %s\n", e.what());
  }
  set_matmul_precision(MatmulPrecision::exact);
  std::fflush(stdout);
  return figures;
}

}  // namespace

int bench_gpu(const BenchRequest& request) {
  if (request.scaling) fail("bench", "--scaling is measured on the CPU: leave --device away");
  Device& device = default_device();
  const auto cases = chosen(request);
  const bool smoke = request.seconds == 0;

  const Ceilings ceiling = ceilings(device, request.seconds);
  if (!smoke && ceiling.exact == 0) {
    std::fprintf(stderr,
                 "gradus: this device copies %.1f GB a second, so it is an emulated one, and times would say nothing; "
                 "--seconds 0 runs every case small\n",
                 ceiling.bytes / 1e9);
    return 77;
  }
  const Peer peer = measure_peer(cases, request);
  Json json = {{"device", name_of_card(peer)}, {"peer", peer.about}, {"cases", Json::array()}};
  std::printf("%s\n", json["device"].get<std::string>().c_str());
  if (smoke) {
    std::printf("each case at a hundredth of its sizes; times mean nothing here and are not shown\n");
  } else {
    json["copy_bytes_per_second"] = ceiling.bytes;
    json["operations_per_second"] = {{"exact", ceiling.exact}, {"tf32", ceiling.tf32}, {"bf16", ceiling.bf16}};
    std::printf(
        "at best: %.0f GB/s (copy of 1 GiB, read and written); %.1f, %.1f and %.1f TFLOP/s in exact, tf32 and bf16\n",
        ceiling.bytes / 1e9, ceiling.exact / 1e12, ceiling.tf32 / 1e12, ceiling.bf16 / 1e12);
  }
  if (peer.about.contains("unavailable")) {
    std::printf("no peer: %s\n", peer.about["unavailable"].get<std::string>().c_str());
  } else {
    std::printf("peer: %s\n", peer.about.dump().c_str());
  }
  if (!smoke) {
    std::printf(
        "forward + backward, f32, median; ratio: the peer's best time over ours\n%-15s %-32s %9s %9s %9s %6s %9s %6s\n",
        "case", "sizes", "eager ms", "replayed", "floor ms", "share%", "peak MiB", "ratio");
  }
  int failed = 0;
  for (std::size_t k = 0; k < cases.size(); ++k) {
    json["cases"].push_back(row(device, *cases[k], ceiling, peer.of_case[k], request.seconds));
    failed += json["cases"].back().contains("error");
    write(request, json);  // so far, should a time limit end this
  }
  return failed ? 1 : 0;
}

}  // namespace gradus::cli
