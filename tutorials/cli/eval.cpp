// `gradus eval`: one loss, or a batch of them, evaluated from outside. JSON on standard input, JSON on standard output.
#include <cstdio>
#include <iostream>
#include <iterator>

#include "tutorials/cli/commands.h"
#include "tutorials/cli/eval_case.h"

namespace gradus::cli {

int eval(const EvalRequest& request) {
  if (request.list) {
    std::cout << describe_losses().dump(1) << "\n";
    return 0;
  }
  const Form form = request.form == "definition" ? Form::definition : Form::closed;
  const DType dtype = request.dtype == "f32" ? DType::f32 : DType::f64;
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  try {
    const Json input = parse_json(text);
    std::cout << (request.batch ? evaluate_batch(input, form, dtype) : evaluate_case(input, form, dtype)).dump()
              << "\n";
    return 0;
  } catch (const Unsupported& e) {
    std::fprintf(stderr, "gradus: %s\n", e.what());
    return 77;
  }
}

}  // namespace gradus::cli
