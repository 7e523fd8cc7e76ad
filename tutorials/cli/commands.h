// The commands of the program `gradus`. Each takes its parsed options and returns the exit code:
// 0 done, 1 a check failed, 2 bad usage or input, 77 not supported here.
#pragma once
#include <string>

#include "tutorials/experiments/experiment.h"

namespace gradus::cli {

int list(bool json);
int check(const std::string& name);
struct EvalRequest {
  std::string dtype = "f64", form = "closed";
  bool batch = false, list = false;
};
int eval(const EvalRequest& request);
struct BenchRequest {
  std::string name, json;  // empty: all; empty: no file
  bool peer = true, scaling = false;
  double seconds = 1.5;  // for each case
};
int bench(const BenchRequest& request);
int train(const std::string& name, const experiments::Request& request);
int demo();

}  // namespace gradus::cli
