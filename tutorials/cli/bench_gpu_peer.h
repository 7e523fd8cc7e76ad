// The peer of `gradus bench --device cuda`: tests/bench/torch_gpu.py takes the cases as JSON and answers with a line of JSON
// about itself and one for each case.
#pragma once
#include <nlohmann/json.hpp>

#include "tutorials/cli/bench_gpu.h"

namespace gradus::cli {

using Json = nlohmann::ordered_json;

struct Peer {
  Json about = Json::object();     // {"torch": "2.11", "device": "NVIDIA H200"} or {"unavailable": "reason"}
  std::vector<Json> of_case = {};  // {"eager": {"ms": .., "peak_mib": ..}, "compile": {"error": ".."}}
};
Peer measure_peer(const std::vector<const GpuCase*>& cases, const BenchRequest& request);

double best_of(const Json& of_case);       // milliseconds of its fastest way; 0: nothing was measured
std::string text_of(const Json& of_case);  // "eager 1.2 ms 500 MiB, compile: reason"
const char* word_for(MatmulPrecision p);   // "exact"

}  // namespace gradus::cli
