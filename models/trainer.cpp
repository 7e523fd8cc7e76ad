#include "models/trainer.h"

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <limits>
#include <optional>

#include "engine/backward.h"
#include "engine/finite.h"
#include "models/clip.h"
#include "models/progress.h"

namespace gradus {
namespace {

volatile std::sig_atomic_t interrupt_requested = 0;

// While one is alive, the first Ctrl-C only asks the loop to stop; a second one ends the program as always.
class InterruptGuard {
 public:
  InterruptGuard() {
    interrupt_requested = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { interrupt_requested = 1; };
    action.sa_flags = SA_RESETHAND | SA_RESTART;
    ::sigaction(SIGINT, &action, &before_);
  }
  ~InterruptGuard() { ::sigaction(SIGINT, &before_, nullptr); }
  InterruptGuard(const InterruptGuard&) = delete;

 private:
  struct sigaction before_ {};
};

void check_options(const TrainOptions& options) {
  if (options.steps < 0 || options.eval_every < 0 || options.save_every < 0) {
    fail("train", "steps, eval_every and save_every must not be negative");
  }
  if (!(options.clip_norm >= 0)) fail("train", "clip_norm must be 0 (none) or greater");
  if (options.save_every > 0 && options.save.empty()) fail("train", "save_every needs a file; set .save");
  if (options.save.empty()) return;
  const std::filesystem::path folder = std::filesystem::absolute(options.save).parent_path();
  if (::access(folder.c_str(), W_OK) != 0 || std::filesystem::is_directory(options.save)) {
    fail("train", "cannot write " + options.save + "; .save needs a file in a folder that exists");
  }
}

class Training {
 public:
  Training(Module& model, Optimizer& optimizer, const std::function<Tensor(Index)>& loss_of_step,
           const TrainOptions& options, const std::function<Metrics()>& evaluate)
      : model_(model),
        optimizer_(optimizer),
        loss_of_step_(loss_of_step),
        options_(options),
        evaluate_(evaluate),
        base_rate_(optimizer.lr()),
        first_(resumed_step()),
        progress_(first_, options.steps, options.items_per_step, options.quiet ? nullptr : stderr) {
    if (!options.report.empty()) report_.emplace(options.report, first_);
    result_.loss = std::numeric_limits<double>::quiet_NaN();
    result_.steps = first_;
  }

  ~Training() { optimizer_.set_lr(base_rate_); }
  Training(const Training&) = delete;

  TrainResult run() {
    const InterruptGuard guard;
    model_.train();
    optimizer_.zero_grad();
    while (result_.steps < options_.steps && !result_.interrupted) {
      one_step(result_.steps++);
      const bool last = result_.steps == options_.steps;
      result_.interrupted = interrupt_requested && !last;
      if (!last && due(options_.eval_every)) evaluate();
      if (!last && due(options_.save_every)) save();
    }
    if (!result_.interrupted) evaluate();
    save();
    finish();
    return result_;
  }

 private:
  Module& model_;
  Optimizer& optimizer_;
  const std::function<Tensor(Index)>& loss_of_step_;
  const TrainOptions& options_;
  const std::function<Metrics()>& evaluate_;
  double base_rate_;
  Index first_;
  Progress progress_;
  std::optional<Report> report_;
  TrainResult result_;

  Index resumed_step() {
    check_options(options_);
    if (options_.resume.empty()) return 0;
    const Index step = load_checkpoint(options_.resume, model_, optimizer_, options_.generators).step;
    if (step <= options_.steps) return step;
    fail("train", options_.resume + " is at step " + std::to_string(step) +
                      ", beyond steps = " + std::to_string(options_.steps));
  }

  bool due(Index every) const { return every > 0 && result_.steps % every == 0; }

  void one_step(Index step) {
    const double rate = base_rate_ * (options_.schedule ? options_.schedule(step) : 1);
    optimizer_.set_lr(rate);
    {
      Tape tape(options_.debug);
      const Tensor loss = loss_of_step_(step);
      result_.loss = loss.item();
      check_finite("loss", result_.loss, step);
      backward(loss);
    }
    const double norm = grad_norm(optimizer_.parameters());
    check_finite("norm of the gradients", norm, step);
    if (options_.clip_norm > 0) clip_grad_norm(optimizer_.parameters(), options_.clip_norm);
    optimizer_.step();
    optimizer_.zero_grad();
    if (report_) report_->step(step + 1, result_.loss, rate, norm);
    progress_.update(step + 1, "loss " + shown(result_.loss) + "  lr " + shown(rate));
  }

  void check_finite(const std::string& what, double value, Index step) const {
    if (std::isfinite(value)) return;
    std::string text = "the " + what + " is " + std::to_string(value) + " at step " + std::to_string(step + 1);
    if (!options_.save.empty()) text += "; " + options_.save + " was not touched";
    fail("train", text + "; lower the learning rate, or set .debug = Debug::yes to see where it begins");
  }

  void evaluate() {
    if (!evaluate_) return;
    const NoGrad no_grad;
    model_.eval();
    result_.metrics = evaluate_();
    model_.train();
    const bool repeated = result_.steps == first_ && first_ > 0;  // a finished run was resumed
    if (report_ && !repeated) report_->evaluation(result_.steps, result_.metrics);
    std::string line = "step " + std::to_string(result_.steps) + ":";
    for (const auto& [name, value] : result_.metrics) line += "  " + name + " " + shown(value);
    progress_.note(line);
  }

  void save() {
    if (options_.save.empty()) return;
    for (const Tensor& p : model_.parameters()) {
      if (first_non_finite(p) < 0) continue;
      fail("train", p.describe() + " is not finite after step " + std::to_string(result_.steps) + "; " + options_.save +
                        " was not touched; lower the learning rate");
    }
    save_checkpoint(options_.save, model_, optimizer_, {result_.steps, options_.metadata, options_.generators});
  }

  void finish() {
    result_.seconds = progress_.seconds();
    if (result_.interrupted) progress_.note("stopped by Ctrl-C after step " + std::to_string(result_.steps));
    if (!report_) return;
    report_->summary({{"steps", double(result_.steps)},
                      {"loss", result_.loss},
                      {"parameters", double(model_.parameter_count())},
                      {"seconds", result_.seconds},
                      {"interrupted", double(result_.interrupted)}},
                     result_.metrics);
  }

  static std::string shown(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value);
    return text;
  }
};

}  // namespace

TrainResult train(Module& model, Optimizer& optimizer, const std::function<Tensor(Index step)>& loss_of_step,
                  const TrainOptions& options, const std::function<Metrics()>& evaluate) {
  return Training(model, optimizer, loss_of_step, options, evaluate).run();
}

}  // namespace gradus
