// Tensors on a GPU: how they get there, what they share with those on the CPU, and what is an error.
#include <doctest/doctest.h>

#include "engine/backward.h"
#include "engine/grad_check.h"
#include "engine/random.h"
#include "engine/tape.h"
#include "ops/arithmetic.h"
#include "ops/math.h"
#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/regularize.h"
#include "tests/support/leak_guard.h"

using namespace gradus;

namespace {

Device& gpu() { return Device::cuda(); }
Tensor random(Shape shape, DType dtype = DType::f32, Device& device = gpu()) {
  Rng rng(5);
  return randn(shape, rng, dtype, device);
}

// max |a - b| / max |b|
double norm_of_difference(const Tensor& a, const Tensor& b) {
  double worst = 0, size = 0;
  const auto x = a.to_vector(), y = b.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) {
    worst = std::max(worst, std::abs(x[i] - y[i]));
    size = std::max(size, std::abs(y[i]));
  }
  return worst / size;
}

}  // namespace

TEST_SUITE("cuda/device") {
  TEST_CASE("a tensor goes to the GPU and comes back as it was, in every type and also when it is empty") {
    const LeakGuard guard;
    for (const DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8}) {
      for (const Index n : {0, 1, 33, 100003}) {
        const Tensor x = arange(n, dtype, Device::cpu()), there = x.to(gpu());
        CHECK_FALSE(there.device().is_cpu());
        CHECK(there.cpu().to_vector() == x.to_vector());
        CHECK(there.to(gpu()).handle() == there.handle());
      }
    }
  }

  TEST_CASE("moving is differentiable both ways") {
    const Tensor x = random({3, 5}, DType::f64, Device::cpu());
    const auto f = [](const std::vector<Tensor>& in) { return square(square(in[0].to(gpu())).cpu() + in[0].cpu()); };
    CHECK_MESSAGE(grad_check(f, {x}).passed, grad_check(f, {x}).message);
    CHECK_MESSAGE(grad_check(f, {x.to(gpu())}).passed, grad_check(f, {x.to(gpu())}).message);
  }

  TEST_CASE("the CPU does not read GPU memory unasked, and tensors of two devices do not mix") {
    const Tensor x = random({4}), y = x.cpu();
    CHECK_THROWS_WITH_AS(x.span<float>(), doctest::Contains("is on cuda and the CPU cannot read it there; use cpu()"),
                         Error);
    CHECK_THROWS_WITH_AS(x + y, doctest::Contains("[add] devices differ"), Error);
    CHECK_THROWS_WITH_AS(matmul(random({2, 2}), random({2, 2}).cpu()), doctest::Contains("move one with to(device)"),
                         Error);
    CHECK_THROWS_WITH_AS(Device::named("gpu"), doctest::Contains("use cpu or cuda"), Error);
  }

  TEST_CASE("random numbers, dropout included, are those of the CPU") {
    for (const DType dtype : {DType::f32, DType::f64}) {
      Rng a(3), b(3);
      CHECK(randn({7, 11}, a, dtype, gpu()).to_vector() == randn({7, 11}, b, dtype, Device::cpu()).to_vector());
      CHECK(rand({7}, a, dtype, gpu()).to_vector() == rand({7}, b, dtype, Device::cpu()).to_vector());
      const Tensor x = random({1000}, dtype);
      CHECK(dropout(x, 0.3, a).to_vector() == dropout(x.cpu(), 0.3, b).to_vector());
    }
    Rng a(4), b(4);
    CHECK(randint(9, {50}, a, gpu()).to_vector() == randint(9, {50}, b, Device::cpu()).to_vector());
  }

  TEST_CASE("live and peak bytes of the GPU are counted apart, and blocks are used again") {
    const MemoryUse before = gpu().memory.use();
    reset_peak_memory();
    {
      const Tensor a = empty({1000}, DType::f32, gpu()), b = empty({500}, DType::f64, gpu());
      CHECK(gpu().memory.use().live_bytes == before.live_bytes + 8000);
      CHECK(gpu().memory.use().live_buffers == before.live_buffers + 2);
    }
    CHECK(gpu().memory.use().live_bytes == before.live_bytes);
    CHECK(gpu().memory.use().peak_bytes == before.live_bytes + 8000);
  }

  TEST_CASE("a step is captured once and replayed, on new data each time, with the bits of the step itself") {
    const LeakGuard guard;
    const Tensor w0 = random({6, 3});
    const auto run = [&](bool captured) {
      Tensor w = w0.clone(), x = zeros({4, 6}, DType::f32, gpu()), loss = zeros({}, DType::f32, gpu());
      const auto step = [&] {
        Tensor p = w.detach().requires_grad_();
        Tape tape;
        const Tensor l = mean(square(matmul(x, p)));
        backward(l);
        add_in_place(w, p.grad() * -0.1);
        loss.copy_from(l);
      };
      std::unique_ptr<Graph> graph;
      if (captured) {
        graph = gpu().capture(step);  // has run it once, on zeros, which changes nothing
      } else {
        step();
      }
      std::vector<double> losses;
      for (int k = 0; k < 4; ++k) {
        Rng rng{std::uint64_t(k)};
        x.copy_from(randn({4, 6}, rng, DType::f32, Device::cpu()));
        captured ? graph->replay() : step();
        losses.push_back(loss.item());
      }
      for (const double v : w.to_vector()) losses.push_back(v);
      return losses;
    };
    CHECK(run(true) == run(false));
  }

  TEST_CASE("what a captured step cannot do is an error, and afterwards all goes on as before") {
    const Tensor x = random({3});
    Rng rng(1);
    int runs = 0;
    const auto second = [&](const auto& f) {
      return [&, f] {
        if (++runs % 2 == 0) f();
      };
    };
    CHECK_THROWS_WITH_AS(gpu().capture(second([&] { x.to_vector(); })), doctest::Contains("read after replay()"),
                         Error);
    const auto uploads = [&] { runs++ % 2 == 0 ? empty({2}, DType::f32, gpu()) : tensor({1, 2}, DType::f32, gpu()); };
    CHECK_THROWS_WITH_AS(gpu().capture(uploads), doctest::Contains("cannot enter a captured step"), Error);
    CHECK_THROWS_WITH_AS(gpu().capture(second([&] { dropout(x, 0.5, rng); })), doctest::Contains("[dropout]"), Error);
    CHECK((x + x).to_vector()[2] == 2 * x.to_vector()[2]);
  }

  TEST_CASE("matrix products round as the precision says, and f64 never does") {
    const Tensor a = random({33, 65}), b = random({65, 17});
    const Tensor exact = matmul(a.to(DType::f64), b.to(DType::f64));
    const auto error = [&](MatmulPrecision precision) {
      set_matmul_precision(precision);
      const double e = norm_of_difference(matmul(a, b).to(DType::f64), exact);
      const double e64 = norm_of_difference(matmul(a.to(DType::f64), b.to(DType::f64)), exact);
      set_matmul_precision(MatmulPrecision::exact);
      CHECK(e64 == 0);
      return e;
    };
    const double f32 = error(MatmulPrecision::exact), tf32 = error(MatmulPrecision::tf32),
                 bf16 = error(MatmulPrecision::bf16);
    CHECK(f32 < 1e-6);
    CHECK(tf32 > 10 * f32);
    CHECK(tf32 < 2e-3);
    CHECK(bf16 > 2 * tf32);
    CHECK(bf16 < 2e-2);
  }
}
