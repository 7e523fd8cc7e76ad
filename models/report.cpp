#include "models/report.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "models/file.h"
#include "models/json.h"

namespace gradus {
namespace {

[[noreturn]] void cannot_write(const std::string& path) {
  fail("report", "cannot write " + path + ": " + std::strerror(errno));
}

Index step_of(std::string_view row) {
  Index step = 0;
  std::from_chars(row.data(), row.data() + row.size(), step);
  return step;
}

// The header, and the complete rows of steps 1..kept.
std::string rows_up_to(const std::string& path, const std::string& header, Index kept) {
  std::string result = header + "\n";
  if (kept == 0 || !std::filesystem::exists(path)) return result;
  const std::string text = read_file("report", path);
  if (text.substr(0, result.size()) != result) {
    fail("report", path + " does not begin with '" + header + "'; it is of another program: choose another directory");
  }
  for (std::size_t begin = result.size(), end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string row = text.substr(begin, end - begin + 1);
    if (step_of(row) >= 1 && step_of(row) <= kept) result += row;
  }
  return result;
}

std::string json_object(const Metrics& values) {
  std::string text = "{";
  for (const auto& [name, value] : values) {
    text += (text.size() > 1 ? "," : "") + json_string(name) + ":" + json_number(value);
  }
  return text + "}";
}

}  // namespace

std::string number_text(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

Table::Table(const std::string& path, const std::string& header, Index kept)
    : path_(path), file_(nullptr, std::fclose) {
  const std::string rows = rows_up_to(path, header, kept);
  const std::string_view pieces[] = {rows};
  write_file("report", path, pieces);
  file_.reset(std::fopen(path.c_str(), "a"));
  if (!file_) cannot_write(path);
}

void Table::row(const std::string& text) {
  std::fprintf(file_.get(), "%s\n", text.c_str());
  if (std::fflush(file_.get()) != 0) cannot_write(path_);
}

Report::Report(const std::string& directory, Index resumed_step) : directory_(directory) {
  std::error_code problem;
  std::filesystem::create_directories(directory, problem);
  if (!std::filesystem::is_directory(directory)) fail("report", "cannot make the directory " + directory);
  steps_ = std::make_unique<Table>(directory + "/metrics.csv", "step,loss,lr,grad_norm", resumed_step);
  evaluations_ = std::make_unique<Table>(directory + "/evaluation.csv", "step,metric,value", resumed_step);
}

void Report::step(Index step, double loss, double lr, double grad_norm) {
  steps_->row(std::to_string(step) + "," + number_text(loss) + "," + number_text(lr) + "," + number_text(grad_norm));
}

void Report::evaluation(Index step, const Metrics& metrics) {
  for (const auto& [name, value] : metrics) {
    evaluations_->row(std::to_string(step) + "," + name + "," + number_text(value));
  }
}

void Report::summary(const Metrics& numbers, const Metrics& metrics) {
  std::string text = json_object(numbers);
  text.pop_back();
  text += ",\"metrics\":" + json_object(metrics) + "}\n";
  const std::string_view pieces[] = {text};
  write_file("report", directory_ + "/summary.json", pieces);
}

}  // namespace gradus
