// The program `gradus`: reads the command line and calls a command. Exit codes: 0 done, 1 a check failed, 2 bad usage or
// input (one line on stderr), 77 not supported here.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "tutorials/cli/commands.h"

int main(int argc, char** argv) {
  using namespace gradus;
  CLI::App app{"Gradus: losses, derived, computed twice, checked and trained"};
  app.require_subcommand(1);
  app.failure_message([](const CLI::App* a, const CLI::Error& e) {
    return std::string("gradus: ") + e.what() + "; see `" + a->get_name() + " --help`\n";
  });
  app.name("gradus");

  bool json = false;
  auto* list = app.add_subcommand("list", "every loss and every experiment");
  list->add_flag("--json", json, "as JSON");

  std::string loss;
  auto* check = app.add_subcommand("check", "definition = closed form = central differences, in f64");
  check->add_option("NAME", loss, "a loss of `gradus list`, or all")->required();

  cli::EvalRequest evaluation;
  std::string device = "cpu";
  auto* eval =
      app.add_subcommand("eval", "evaluate one loss: a case as JSON on standard input, its value and gradients out");
  eval->add_option("--dtype", evaluation.dtype, "f64 (default) or f32")->check(CLI::IsMember({"f64", "f32"}));
  eval->add_option("--form", evaluation.form, "closed (default) or definition")
      ->check(CLI::IsMember({"closed", "definition"}));
  eval->add_flag("--batch", evaluation.batch, "the input is a list of cases, the output a list of results");
  eval->add_flag("--list", evaluation.list, "every loss with its inputs, options and defaults");

  cli::BenchRequest measured;
  bool no_peer = false;
  auto* bench = app.add_subcommand("bench", "time and memory of losses, beside PyTorch where it is installed");
  bench->add_option("NAME", measured.name, "one case; default: all");
  bench->add_flag("--scaling", measured.scaling, "time over size, and the exponent that fits");
  bench->add_flag("--no-peer", no_peer, "without PyTorch");
  bench->add_option("--seconds", measured.seconds, "for each case; default 1.5")->check(CLI::Range(0.0, 600.0));
  bench->add_flag_callback(
      "--smoke", [&] { measured.seconds = 0; }, "on a GPU: every case once and small, to see that it works");
  bench->add_option("--json", measured.json, "write the figures to this file, too");

  const CLI::Range at_least_one(Index(1), Index(1000000000));
  std::string experiment;
  experiments::Request request;
  auto* train = app.add_subcommand("train", "train an experiment end to end and compare it with its baseline");
  train->add_option("NAME", experiment, "an experiment of `gradus list`, or all")->required();
  train->add_option("--data", request.data, "a file or folder in place of the default data");
  train->add_option("--steps", request.steps, "how many; default: see `gradus list`")->check(at_least_one);
  train->add_option("--seed", request.seed, "of all random numbers; default 0");
  train->add_option("--save", request.save, "write a checkpoint here at the end");
  train->add_option("--save-every", request.save_every, "and every so many steps")->check(at_least_one);
  train->add_option("--resume", request.resume, "continue from this checkpoint, with the same bits");
  train->add_option("--report", request.report, "a folder for metrics.csv, evaluation.csv and summary.json");
  train->add_flag("--quiet", request.quiet, "no progress");

  for (CLI::App* command : {check, eval, bench, train}) {
    command->add_option("--device", device, "cpu (default) or cuda")->check(CLI::IsMember({"cpu", "cuda"}));
  }

  auto* demo = app.add_subcommand("demo", "digits and a small language model, in about a minute");

  const auto is_first = [&](const CLI::App* command) { return command->get_name() == argv[1]; };
  if (argc > 1 && argv[1][0] != '-' && app.get_subcommands(is_first).empty()) {
    std::fprintf(stderr, "gradus: there is no command '%s'; commands are list, check, eval, bench, train and demo\n",
                 argv[1]);
    return 2;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) { return app.exit(e) == 0 ? 0 : 2; }
  try {
    if (device == "cuda" && !cuda_available()) {
      std::fprintf(stderr, "gradus: %s\n", why_no_cuda().c_str());
      return 77;
    }
    set_default_device(Device::named(device));
    if (*list) return cli::list(json);
    if (*check) return cli::check(loss);
    if (*demo) return cli::demo();
    measured.peer = !no_peer;
    if (*bench) return cli::bench(measured);
    if (*eval) return cli::eval(evaluation);
    return cli::train(experiment, request);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "gradus: %s\n", e.what());
    return 2;
  }
}
