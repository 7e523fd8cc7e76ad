// Every loss of `gradus eval` against PyTorch in f64: tests/golden/losses.json, made by losses.py beside it. Both forms in
// f64, the closed one in f32 too.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <set>

#include "tests/support/loss_case.h"
#include "tutorials/cli/eval_case.h"

using namespace gradus;
using cli::Json;

namespace {

Json golden() {
  std::ifstream file(std::string(GRADUS_SOURCE_DIR) + "/tests/golden/losses.json");
  return cli::parse_json({std::istreambuf_iterator<char>(file), {}});
}

Values numbers(const Json& value) {
  if (value.is_number()) return {value.get<double>()};
  if (value.is_string()) return {NaN};
  Values out;
  for (const Json& v : value["data"]) out.push_back(v.is_number() ? v.get<double>() : NaN);
  return out;
}

// |got - wanted| <= tolerance of the greatest entry or 1
void check_close(const Json& got, const Json& wanted, double tolerance, const std::string& what) {
  const Values a = numbers(got), b = numbers(wanted);
  REQUIRE_MESSAGE(a.size() == b.size(), what);
  double scale = 1, gap = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    scale = std::max(scale, std::abs(b[i]));
    gap = std::isnan(a[i]) ? inf : std::max(gap, std::abs(a[i] - b[i]));
  }
  CHECK_MESSAGE(gap <= tolerance * scale, what, ": off by ", gap);
}

void check_case(const Json& one, Form form, DType dtype, double tolerance) {
  const Json request = {
      {"loss", one["loss"]}, {"inputs", one["inputs"]}, {"options", one["options"]}, {"want_grads", one["want_grads"]}};
  const Json got = cli::evaluate_case(request, form, dtype);
  const std::string what = one["loss"].get<std::string>() + " " + one["options"].dump() +
                           (form == Form::closed ? " closed" : " definition") + (dtype == DType::f32 ? " f32" : " f64");
  check_close(got["value"], one["expected"]["value"], tolerance, what + " value");
  if (!one["expected"].contains("grads")) return;
  for (const auto& [name, wanted] : one["expected"]["grads"].items()) {
    check_close(got["grads"][name], wanted, tolerance, what + " d/d" + name);
  }
}

}  // namespace

TEST_SUITE("golden") {
  TEST_CASE("values and gradients of all losses of gradus eval are those of PyTorch in f64") {
    std::set<std::string> seen;
    for (const Json& one : golden()) {
      seen.insert(one["loss"].get<std::string>());
      const LossInfo& info = find_loss(one["loss"].get<std::string>());
      check_case(one, Form::closed, DType::f64, 1e-10);
      if (info.has_definition) check_case(one, Form::definition, DType::f64, 1e-10);
      check_case(one, Form::closed, DType::f32, 2e-5);
    }
    CHECK(seen.size() == 65);
  }
}
