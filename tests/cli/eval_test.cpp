// `gradus eval`: what a case may look like, what comes back, and which sentence answers a case that is wrong.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/support/leak_guard.h"
#include "tests/support/loss_case.h"
#include "tutorials/cli/eval_case.h"

using namespace gradus;
using cli::Json;

namespace {

Json run(const std::string& text, Form form = Form::closed, DType dtype = DType::f64) {
  return cli::evaluate_case(cli::parse_json(text), form, dtype);
}

const std::string logits = R"("logits":{"shape":[2,3],"data":[1,2,3,"-inf",0,1]})";
const std::string target = R"("target":{"shape":[2],"data":[0,2],"dtype":"int64"})";

// A cross entropy with one member of the case replaced or added.
std::string with(const std::string& inputs, const std::string& rest = "") {
  return R"({"loss":"cross_entropy","inputs":{)" + inputs + "}" + (rest.empty() ? "" : "," + rest) + "}";
}

void refuses(const std::string& text, const char* because) {
  CAPTURE(text);
  CHECK_THROWS_WITH_AS(run(text), doctest::Contains(because), std::exception);
}

}  // namespace

TEST_SUITE("eval") {
  TEST_CASE("value and gradient come back in both forms and both types, and read back exactly") {
    const LeakGuard guard;
    for (const Form form : {Form::closed, Form::definition}) {
      const Json wide = run(with(logits + "," + target), form),
                 narrow = run(with(logits + "," + target), form, DType::f32);
      const double wanted = (std::log(1 + std::exp(1) + std::exp(2)) + 0.31326168751822286) / 2;
      CHECK(wide["value"].get<double>() == doctest::Approx(wanted).epsilon(1e-14));
      CHECK(narrow["value"].get<double>() == double(float(narrow["value"].get<double>())));
      CHECK(wide["grads"]["logits"]["shape"] == Json({2, 3}));
      CHECK(wide["grads"]["logits"]["data"][3] == 0.0);
      CHECK(Json::parse(wide.dump()) == wide);
    }
  }

  TEST_CASE("a value that is a tensor takes a cotangent, without one only the value comes back") {
    const std::string none = R"("options":{"reduction":"none"})";
    const Json plain = run(with(logits + "," + target, none));
    CHECK(plain["value"]["shape"] == Json({2}));
    CHECK(plain["grads"].empty());
    const std::string cotangent = R"(,"cotangent":{"shape":[2],"data":[2,0]})";
    const Json pulled = run(with(logits + "," + target + cotangent, none));
    const Json mean = run(with(logits + "," + target));
    CHECK(pulled["grads"]["logits"]["data"][0].get<double>() ==
          doctest::Approx(4 * mean["grads"]["logits"]["data"][0].get<double>()));
    CHECK(pulled["grads"]["logits"]["data"][4] == 0.0);
    refuses(with(logits + "," + target + R"(,"cotangent":{"shape":[3],"data":[2,0,1]})", none),
            "shape of the value, [2]");
    refuses(with(logits + "," + target, none + R"(,"want_grads":["logits"])"), "need an input 'cotangent'");
  }

  TEST_CASE("want_grads chooses, none wanted, none given") {
    CHECK(run(with(logits + "," + target, R"("want_grads":[])"))["grads"].empty());
    CHECK(run(with(logits + "," + target, R"("want_grads":["logits"])"))["grads"].size() == 1);
    refuses(with(logits + "," + target, R"("want_grads":["target"])"), "no input of this case with a gradient");
    refuses(with(logits + "," + target, R"("want_grads":["weight"])"), "no input of this case with a gradient");
  }

  TEST_CASE("infinities and NaN travel as words, and integers may do without their dtype") {
    const Json r = run(with(R"("logits":{"shape":[1,2],"data":["-inf",0]},"target":{"shape":[1],"data":[0]})"));
    CHECK(r["value"] == "inf");
    CHECK(run(with(R"("logits":{"shape":[1,2],"data":["nan",0]},"target":{"shape":[1],"data":[0]})"))["value"] ==
          "nan");
  }

  TEST_CASE("what is wrong with a case is said in one line that names the field") {
    refuses("[1]", "a case must be an object");
    refuses("{", "not JSON");
    refuses("{}", "has no 'loss'");
    refuses(R"({"loss":"cross_entrpy","inputs":{}})", "did you mean cross_entropy");
    refuses(R"({"loss":"cross_entropy"})", "has no 'inputs'");
    refuses(with(logits), "input 'target' [N] is missing");
    refuses(with(logits + "," + target, R"("option":{})"), "unknown member 'option'");
    refuses(with(logits + "," + target, R"("options":{"smoothing":1})"),
            "no option 'smoothing'; options are ignore_index");
    refuses(with(logits + "," + target, R"("options":{"reduction":"average"})"),
            "one of mean, sum, none, got 'average'");
    refuses(with(logits + "," + target, R"("options":{"label_smoothing":"nan"})"), "option 'label_smoothing' is NaN");
    refuses(with(logits + "," + target, R"("options":{"label_smoothing":true})"),
            "must be a number, got true or false");
    refuses(with(logits + "," + target, R"("options":{"label_smoothing":[1]})"), "a number, a flag or a word");
    refuses(with(logits + "," + target, R"("options":{"ignore_index":0.5})"), "must be an integer, got a number");
    refuses(with(logits + "," + target, R"("options":{"label_smoothing":2})"), "must lie in [0,1]");
    refuses(with(logits + R"(,"target":{"shape":[3],"data":[0,1,2]})"), "N is 2 in 'logits'");
    refuses(with(logits + R"(,"target":{"shape":[2],"data":[0,3]})"), "label 3 at [1]");
    refuses(with(logits + R"(,"target":{"shape":[2],"data":[0,0.5]})"), "target.data[1] must be an integer");
    refuses(with(logits + R"(,"target":{"shape":[2],"data":[0]})"), "has 1 numbers, which do not fill the shape [2]");
    refuses(with(logits + R"(,"target":{"shape":[-2],"data":[0]})"), "shape must hold sizes");
    refuses(with(logits + R"(,"target":{"shape":[1000000000000,1000000000000],"data":[0]})"), "do not fill");
    refuses(with(logits + R"(,"target":{"shape":[1],"data":["a"]})"), "is no number");
    refuses(with(logits + R"(,"target":{"shape":[1],"data":[0],"dtype":"int32"})"), "must be int64");
    refuses(with(logits + "," + target + R"(,"bias":{"shape":[],"data":[0]})"), "no input 'bias'; inputs are logits");
  }

  TEST_CASE("in a batch a bad case does not stop the others") {
    const Json good = Json::parse(with(logits + "," + target));
    const Json results = cli::evaluate_batch(Json::array({good, 7, good}), Form::closed, DType::f64);
    REQUIRE(results.size() == 3);
    CHECK(results[0] == results[2]);
    CHECK(results[1]["code"] == 2);
    CHECK(results[1]["error"] == "[eval] a case must be an object");
    CHECK_THROWS_WITH_AS(cli::evaluate_batch(good, Form::closed, DType::f64), doctest::Contains("list of cases"),
                         Error);
  }

  TEST_CASE("the list describes every loss well enough to call it") {
    const Json all = cli::describe_losses();
    CHECK(all.size() == all_losses().size());
    for (const Json& loss : all) {
      CAPTURE(loss["name"]);
      CHECK(!loss["inputs"].empty());
      CHECK(!loss["formula"].get<std::string>().empty());
      CHECK(!loss["seeds"].get<std::string>().empty());
      for (const Json& option : loss["options"]) CHECK(option.contains("default"));
    }
  }
}
