#include "tutorials/cli/bench_gpu_peer.h"

#include <cstdio>
#include <filesystem>
#include <sstream>

namespace gradus::cli {

const char* word_for(MatmulPrecision p) {
  return p == MatmulPrecision::exact ? "exact" : p == MatmulPrecision::tf32 ? "tf32" : "bf16";
}

Peer measure_peer(const std::vector<const GpuCase*>& cases, const BenchRequest& request) {
  Peer peer;
  peer.of_case.resize(cases.size(), Json::object());
  const std::string script = GRADUS_SOURCE_DIR "/tests/bench/torch_gpu.py";
  if (!request.peer || !std::filesystem::exists(script)) {
    peer.about["unavailable"] = request.peer ? "no " + script : "not wanted";
    return peer;
  }
  Json wanted = {{"seconds", request.seconds}, {"cases", Json::array()}};
  for (const GpuCase* c : cases) {
    Json sizes;
    for (const auto& [name, n] : (request.seconds == 0 ? c->sizes.hundredth() : c->sizes).list) sizes[name] = n;
    wanted["cases"].push_back({{"name", c->name}, {"sizes", sizes}, {"precision", word_for(c->precision)}});
  }
  std::string python = "/usr/bin/python3";  // Debian's, unless the one in the path has PyTorch
  if (!output_of("python3 -c 'import torch; print(1)' 2>/dev/null").empty()) python = "python3";
  std::istringstream lines(output_of("timeout 150 " + python + " " + script + " '" + wanted.dump() + "'"));
  std::string line;
  std::getline(lines, line);
  peer.about = Json::parse(line, nullptr, false);
  if (!peer.about.is_object()) {
    peer.about = Json::object();
    peer.about["unavailable"] = script + " failed";
  }
  for (std::size_t k = 0; k < cases.size() && std::getline(lines, line); ++k) {
    const Json answer = Json::parse(line, nullptr, false);
    if (answer.is_object()) peer.of_case[k] = answer;
  }
  return peer;
}

double best_of(const Json& of_case) {
  double best = 0;
  for (const auto& [how, result] : of_case.items()) {
    const double ms = result.value("ms", 0.0);
    if (ms > 0 && (best == 0 || ms < best)) best = ms;
  }
  return best;
}

std::string text_of(const Json& of_case) {
  std::string all;
  for (const auto& [how, result] : of_case.items()) {
    char one[200];
    if (result.contains("ms")) {
      std::snprintf(one, sizeof one, "%s %.4g ms %.0f MiB", how.c_str(), result.value("ms", 0.0),
                    result.value("peak_mib", 0.0));
    } else {
      std::snprintf(one, sizeof one, "%s: %.60s", how.c_str(), result.value("error", std::string("-")).c_str());
    }
    all += (all.empty() ? "" : ", ") + std::string(one);
  }
  return all;
}

}  // namespace gradus::cli
