#include "losses/combine/tasks.h"

#include "losses/distance/checks.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"

namespace gradus {

void check_tasks(const char* op, const Tensor& losses) {
  if (!losses) fail(op, "needs losses [K]; they are undefined");
  if (losses.rank() != 1) {
    fail(op,
         "needs losses [K], one for each task, got " + losses.describe() + "; stack({l1, l2}) makes it from scalars");
  }
  if (!is_floating(losses.dtype())) fail(op, "needs losses of f32 or f64, got " + losses.describe());
}

void check_tasks(const char* op, const Tensor& losses, const char* what, const Tensor& w) {
  check_tasks(op, losses);
  if (!w) fail(op, std::string("needs ") + what + " [K]; they are undefined");
  check_same_kind(op, losses, w);
  if (w.shape() != losses.shape()) {
    fail(op, std::string("needs one entry of ") + what + " for each task: losses " + losses.describe() + ", " + what +
                 " " + w.describe());
  }
}

namespace {

struct OutOfBounds {
  double low;
  bool above;
  HD bool operator()(double v) const { return v < low || (above && v == low); }
};

void check_bound(const char* op, const char* what, const Tensor& x, double low, bool above) {
  const Index i = first_bad(x, OutOfBounds{low, above});
  if (i < 0) return;
  fail(op, std::string(what) + " must be " + (above ? "> " : ">= ") + std::to_string(Index(low)) + ", got " +
               std::to_string(value_at(x, i)) + " at [" + std::to_string(i) + "] of " + x.describe());
}

struct NotOne {
  double tolerance;
  HD bool operator()(double v) const { return !(v - 1 < tolerance && 1 - v < tolerance); }
};

}  // namespace

void check_at_least(const char* op, const char* what, const Tensor& x, double low) {
  check_bound(op, what, x, low, false);
}
void check_above(const char* op, const char* what, const Tensor& x, double low) { check_bound(op, what, x, low, true); }

void check_sums_to_one(const char* op, const char* what, const Tensor& x, double tolerance, const char* remedy) {
  const Tensor total = sum(x.detach().to(DType::f64));
  if (first_bad(total, NotOne{tolerance}) < 0) return;
  fail(op, std::string(what) + " must sum to 1, got " + std::to_string(total.item()) + "; " + remedy);
}

Tensor sample_losses(Index K, Rng& rng) { return 3 * rand({K}, rng, DType::f64) + 0.2; }

}  // namespace gradus
