// `gradus list`: every loss, and every experiment that trains one.
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "losses/loss.h"
#include "tutorials/cli/commands.h"

namespace gradus::cli {
namespace {

int list_json() {
  nlohmann::ordered_json out;
  out["losses"] = nlohmann::json::array();
  for (const LossInfo& loss : all_losses()) {
    out["losses"].push_back(nlohmann::ordered_json{{"name", loss.name},
                                                   {"family", name_of(loss.family)},
                                                   {"formula", loss.formula},
                                                   {"seeds", loss.seeds},
                                                   {"task", loss.task}});
  }
  out["experiments"] = nlohmann::json::array();
  for (const experiments::Experiment& e : experiments::all()) {
    out["experiments"].push_back(nlohmann::ordered_json{
        {"name", e.name}, {"loss", e.loss}, {"what", e.what}, {"data", e.data}, {"steps", e.steps}});
  }
  std::cout << out.dump(2) << "\n";
  return 0;
}

}  // namespace

int list(bool json) {
  if (json) return list_json();
  std::printf("%zu losses and metrics (gradus check NAME, gradus eval)\n", all_losses().size());
  for (const Family family : {Family::softmax, Family::logsumexp, Family::distance, Family::transport, Family::combine,
                              Family::scheme, Family::metric}) {
    std::printf("\n%s\n", name_of(family));
    for (const LossInfo& loss : all_losses()) {
      if (loss.family != family) continue;
      std::printf("  %-32s %s\n  %-32s for %s; %s\n", loss.name, loss.formula, "", loss.task, loss.seeds);
    }
  }
  std::printf("\nexperiments (gradus train NAME)\n");
  for (const experiments::Experiment& e : experiments::all()) {
    std::printf("  %-16s %-10s %s\n  %-16s %-10s data: %s; %lld steps\n", e.name, e.loss, e.what, "", "", e.data,
                static_cast<long long>(e.steps));
  }
  return 0;
}

}  // namespace gradus::cli
