// Training on a GPU: optimizers in one kernel, clipping, checkpoints, and a whole step that is captured and replayed.
#include <doctest/doctest.h>

#include <filesystem>

#include "engine/backward.h"
#include "losses/softmax/cross_entropy.h"
#include "models/clip.h"
#include "models/mlp.h"
#include "models/optimizer.h"
#include "models/training_state.h"
#include "ops/arithmetic.h"

using namespace gradus;

namespace {

using Values = std::vector<double>;

// Forty parameters of mixed types and sizes: more than one launch takes, one without a gradient.
std::vector<Tensor> parameters(Device& device) {
  std::vector<Tensor> all;
  Rng rng(2);
  for (int k = 0; k < 40; ++k) {
    const DType dtype = k % 7 == 3 ? DType::f64 : DType::f32;
    all.push_back(randn({k % 5 + 1, 3 * k + 1}, rng, dtype, device).requires_grad_());
  }
  return all;
}
void give_gradients(const std::vector<Tensor>& all, int step) {
  Rng rng{std::uint64_t(step)};
  for (std::size_t k = 0; k < all.size(); ++k) {
    Tensor p = all[k];
    const Tensor g = randn(p.shape(), rng, p.dtype(), p.device());
    if (k != 5) p.set_grad(g);
  }
}

template <class O, class Options> Values trained(const Options& options, Device& device) {
  std::vector<Tensor> all = parameters(device);
  O optimizer(all, options);
  for (int step = 0; step < 3; ++step) {
    give_gradients(all, step);
    optimizer.set_lr(0.01 / (1 + step));
    optimizer.step();
  }
  Values values;
  for (const auto& some : {all, optimizer.state()}) {
    for (const Tensor& x : some) {
      for (const double v : x.to_vector()) values.push_back(v);
    }
  }
  return values;
}

template <class O, class Options> void check_optimizer(const Options& options) {
  const Values cpu = trained<O>(options, Device::cpu()), gpu = trained<O>(options, Device::cuda());
  REQUIRE(cpu.size() == gpu.size());
  for (std::size_t i = 0; i < cpu.size(); ++i) CHECK(gpu[i] == doctest::Approx(cpu[i]).epsilon(1e-5).scale(0.01));
  CHECK(trained<O>(options, Device::cuda()) == gpu);
}

struct Run {
  Mlp model;
  AdamW optimizer;
  Tensor x, y, loss;
  Run(Device& device)
      : model({8, 16, 5}, Rng(3)),
        optimizer((model.to(device), model.parameters()), {.lr = 0.01}),
        x(zeros({6, 8}, DType::f32, device)),
        y(zeros({6}, DType::i64, device)),
        loss(zeros({}, DType::f32, device)) {}
  void feed(int k) {
    Rng rng{std::uint64_t(100 + k)};
    x.copy_from(randn({6, 8}, rng, DType::f32, Device::cpu()));
    y.copy_from(randint(5, {6}, rng, Device::cpu()));
  }
  void step() {
    {
      Tape tape;
      const Tensor l = cross_entropy(model(x), y, {.label_smoothing = 0.1});
      loss.copy_from(l);
      backward(l);
    }
    optimizer.step();
    optimizer.zero_grad();
  }
  Values all() {
    Values values;
    for (const Tensor& p : model.parameters()) {
      for (const double v : p.to_vector()) values.push_back(v);
    }
    for (const double v : optimizer.state()[0].to_vector()) values.push_back(v);  // steps done
    return values;
  }
};

}  // namespace

TEST_SUITE("cuda/training") {
  TEST_CASE("Sgd, Adam and AdamW over forty parameters step as on the CPU") {
    check_optimizer<Sgd>(SgdOptions{.momentum = 0.9, .dampening = 0.1, .weight_decay = 0.01});
    check_optimizer<Sgd>(SgdOptions{.momentum = 0.9, .nesterov = true});
    check_optimizer<Sgd>(SgdOptions{});
    check_optimizer<Adam>(AdamOptions{.weight_decay = 0.1});
    check_optimizer<AdamW>(AdamWOptions{});
  }

  TEST_CASE("gradients are clipped as on the CPU") {
    const std::vector<Tensor> cpu = parameters(Device::cpu()), gpu = parameters(Device::cuda());
    for (const auto& all : {cpu, gpu}) give_gradients(all, 1);
    CHECK(clip_grad_norm(gpu, 1.5) == doctest::Approx(clip_grad_norm(cpu, 1.5)).epsilon(1e-12));
    CHECK(grad_norm(gpu) == doctest::Approx(1.5).epsilon(1e-5));
    clip_grad_value(gpu, 0.01);
    for (const Tensor& p : gpu) {
      if (p.grad()) CHECK(std::abs(p.grad().to_vector()[0]) <= 0.0100001);
    }
  }

  TEST_CASE("a captured step trains to the same bits as one that is run, and goes on counting its steps") {
    const auto train = [](bool captured) {
      Run run(Device::cuda());
      run.feed(0);
      std::unique_ptr<Graph> graph;
      if (captured) {
        graph = Device::cuda().capture([&] { run.step(); });  // the first step
      } else {
        run.step();
      }
      Values losses;
      for (int k = 1; k < 5; ++k) {
        run.feed(k);
        if (k == 3) run.optimizer.set_lr(0.002);
        captured ? graph->replay() : run.step();
        losses.push_back(run.loss.item());
      }
      Values all = run.all();
      all.insert(all.end(), losses.begin(), losses.end());
      return all;
    };
    const Values eager = train(false);
    CHECK(train(true) == eager);
    CHECK(train(true) == eager);  // the first graph's memory serves the second
  }

  TEST_CASE("a checkpoint written on the GPU is read on the CPU") {
    Run gpu(Device::cuda()), cpu(Device::cpu());
    gpu.feed(1);
    gpu.step();
    const std::string path = (std::filesystem::temp_directory_path() / "gradus_cuda.safetensors").string();
    save_checkpoint(path, gpu.model, gpu.optimizer, {.step = 1});
    CHECK(load_checkpoint(path, cpu.model, cpu.optimizer).step == 1);
    CHECK(cpu.all() == gpu.all());
    std::filesystem::remove(path);
  }
}
