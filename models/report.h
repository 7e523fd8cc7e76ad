// What a training run leaves to read, in a directory:
//
//   metrics.csv       step,loss,lr,grad_norm         one row for each step
//   evaluation.csv    step,metric,value              one row for each value of each evaluation
//   summary.json      {"steps":..,"loss":..,"metrics":{..},..}         written once, at the end
//
// Steps are counted from 1. Each row is on its way to the disk when the next step begins. A run that resumes cuts the tables
// back to the step it resumes from, and so ends with the tables of a run that was never interrupted.
#pragma once
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/dtype.h"

namespace gradus {

using Metrics = std::vector<std::pair<std::string, double>>;  // name and value, in the order to show them

class Table {
 public:
  // Keeps the rows of steps 1..kept of a file that exists, and appends after them. Error when it cannot be written.
  Table(const std::string& path, const std::string& header, Index kept);
  void row(const std::string& text);

 private:
  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

class Report {
 public:
  Report(const std::string& directory, Index resumed_step);  // made when it is not there
  void step(Index step, double loss, double lr, double grad_norm);
  void evaluation(Index step, const Metrics& metrics);
  void summary(const Metrics& numbers, const Metrics& metrics);  // metrics become an object of their own

 private:
  std::string directory_;
  std::unique_ptr<Table> steps_, evaluations_;
};

std::string number_text(double value);  // "%.9g": enough to read a float back

}  // namespace gradus
