// Triplet mining: the proof, triplets by hand, ties, batches without triplets, large batches, errors.
#include "losses/distance/triplet_mining.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/backward.h"
#include "losses/distance/triplet.h"
#include "ops/index.h"
#include "ops/math.h"
#include "tests/support/loss_case.h"

using namespace gradus;

namespace {

// Points of a line.
Tensor line(const Values& x) { return matrix(x, Index(x.size())); }

enum class Rule { all, hard, semi };

// Sum of the hinges and its gradient, triplet by triplet.
struct Direct {
  double loss = 0;
  Values gradient;
};
Direct direct(Rule rule, const Tensor& embeddings, const Tensor& labels, double margin) {
  const Index N = embeddings.size(0), D = embeddings.size(1);
  const Values e = embeddings.to_vector(), y = labels.to_vector();
  const auto d = [&](Index i, Index j) {
    double s = 0;
    for (Index k = 0; k < D; ++k) s += (e[i * D + k] - e[j * D + k]) * (e[i * D + k] - e[j * D + k]);
    return std::sqrt(s);
  };
  Direct sum{.gradient = Values(e.size(), 0)};
  const auto pull = [&](Index i, Index j, double force) {
    for (Index k = 0; k < D && d(i, j) > 0; ++k) {
      const double v = force * (e[i * D + k] - e[j * D + k]) / d(i, j);
      sum.gradient[i * D + k] += v;
      sum.gradient[j * D + k] -= v;
    }
  };
  const auto add = [&](Index a, Index p, Index n) {
    const double h = d(a, p) - d(a, n) + margin;
    if (p < 0 || n < 0 || h <= 0) return;
    sum.loss += h;
    pull(a, p, 1);
    pull(a, n, -1);
  };
  for (Index a = 0; a < N; ++a) {
    std::vector<Index> ps, ns;
    for (Index j = 0; j < N; ++j) {
      if (y[j] != y[a]) ns.push_back(j);
      if (y[j] == y[a] && j != a) ps.push_back(j);
    }
    if (ps.empty() || ns.empty()) continue;
    const auto nearer = [&](Index i, Index j) { return d(a, i) < d(a, j); };
    if (rule == Rule::hard) {
      add(a, *std::max_element(ps.begin(), ps.end(), nearer), *std::min_element(ns.begin(), ns.end(), nearer));
      continue;
    }
    for (const Index p : ps) {
      if (rule == Rule::all) {
        for (const Index n : ns) add(a, p, n);
        continue;
      }
      Index chosen = -1;
      for (const Index n : ns) {
        if (d(a, n) > d(a, p) && (chosen < 0 || d(a, n) < d(a, chosen))) chosen = n;
      }
      add(a, p, chosen >= 0 ? chosen : *std::max_element(ns.begin(), ns.end(), nearer));
    }
  }
  return sum;
}

Values gradient(const std::function<Tensor(const Tensor&)>& f, const Tensor& x) { return slopes(x, f); }

}  // namespace

TEST_SUITE("triplet_mining") {
  TEST_CASE("triplet_mining: definition, closed form and central differences agree") {
    check_losses(triplet_mining_losses());
  }

  TEST_CASE("A054 by hand: class 0 at 0 and 3, class 1 at 1 and 5") {
    // d(a,p), then d(a,n):  0: 3 | 1, 5   3: 3 | 2, 2   1: 4 | 1, 2   5: 4 | 5, 2.   margin 1
    // hinges:  0: 3, 0 (-1)   3: 2, 2   1: 4, 3   5: 0 (0), 3
    const Tensor e = line({0, 3, 1, 5}), y = labels({0, 0, 1, 1});
    for (const Form form : {Form::closed, Form::definition}) {
      const BatchAllOptions all{.reduction = Reduction::none, .form = form};
      CHECK(triplet_batch_all(e, y, all).to_vector() == Values{3, 4, 7, 3});
      CHECK(triplet_batch_all(e, y, {.form = form}).item() == doctest::Approx(17.0 / 6));
      CHECK(triplet_batch_all(e, y, {.over = TripletMean::valid, .form = form}).item() == doctest::Approx(17.0 / 8));
      const TripletMiningOptions rows{.reduction = Reduction::none, .form = form};
      CHECK(triplet_batch_hard(e, y, rows).to_vector() == Values{3, 2, 4, 3});
      CHECK(triplet_batch_hard(e, y, {.form = form}).item() == 3);
      // semi-hard: 0 takes 5 (5 > 3), 3 has none farther than 3 and takes 2, 1 takes 2, 5 takes 5.
      CHECK(triplet_semi_hard(e, y, rows).to_vector() == Values{0, 2, 3, 0});
      CHECK(triplet_semi_hard(e, y, {.form = form}).item() == 1.25);
      CHECK(triplet_semi_hard(e, y, {.over = TripletMean::active, .form = form}).item() == 2.5);
    }
  }

  TEST_CASE("batch_all is the plain triplet loss over the listed triplets") {
    const Tensor e = between(-1, 1, {6, 3}, 1), y = labels({0, 0, 1, 1, 1, 2});
    std::vector<Index> as, ps, ns;
    for (Index a = 0; a < 6; ++a) {
      for (Index p = 0; p < 6; ++p) {
        for (Index n = 0; n < 6; ++n) {
          if (p == a || value_at(y, p) != value_at(y, a) || value_at(y, n) == value_at(y, a)) continue;
          as.push_back(a), ps.push_back(p), ns.push_back(n);
        }
      }
    }
    const auto listed = [&](const Tensor& x) {
      return triplet(index_select(x, 0, labels(as)), index_select(x, 0, labels(ps)), index_select(x, 0, labels(ns)),
                     {.margin = 0.4});
    };
    const auto mined = [&](const Tensor& x) {
      return triplet_batch_all(x, y, {.margin = 0.4, .over = TripletMean::valid});
    };
    CHECK(mined(e).item() == doctest::Approx(listed(e).item()).epsilon(1e-14));
    check_near(gradient(mined, e), gradient(listed, e), 1e-14);
  }

  TEST_CASE("no positives, no negatives, no rows, nothing active: loss 0 and gradient 0, never NaN") {
    const Tensor e = line({0, 1, 5, 9});
    for (const Form form : {Form::closed, Form::definition}) {
      for (const TripletMean over : {TripletMean::valid, TripletMean::active}) {
        for (const Tensor& y : {labels({3, 3, 3, 3}), labels({0, 1, 2, 3})}) {
          const auto all = [&](const Tensor& x) { return triplet_batch_all(x, y, {.over = over, .form = form}); };
          const auto hard = [&](const Tensor& x) { return triplet_batch_hard(x, y, {.over = over, .form = form}); };
          const auto semi = [&](const Tensor& x) { return triplet_semi_hard(x, y, {.over = over, .form = form}); };
          CHECK(all(e).item() == 0);
          CHECK(hard(e).item() == 0);
          CHECK(semi(e).item() == 0);
          CHECK(gradient(all, e) == Values(4, 0));
          CHECK(gradient(hard, e) == Values(4, 0));
          CHECK(gradient(semi, e) == Values(4, 0));
        }
        const Tensor solved = line({0, 0.1, 50, 50.1});
        const auto all = [&](const Tensor& x) {
          return triplet_batch_all(x, labels({0, 0, 1, 1}), {.over = over, .form = form});
        };
        CHECK(all(solved).item() == 0);
        CHECK(gradient(all, solved) == Values(4, 0));
      }
      CHECK(triplet_batch_all(zeros({0, 2}), labels({}), {.form = form}).item() == 0);
      CHECK(triplet_batch_hard(zeros({0, 2}), labels({}), {.form = form}).item() == 0);
    }
  }

  TEST_CASE("an anchor without a positive does not count, it does not take itself for one") {
    // Row 2 is alone in its class: with itself as positive it would add max(0, 0 - 1 + 2) = 1 and a row to the mean.
    const Tensor e = line({0, 1, 2}), y = labels({0, 0, 1});
    const TripletMiningOptions o{.margin = 2, .reduction = Reduction::none};
    CHECK(triplet_batch_hard(e, y, o).to_vector() == Values{1, 2, 0});
    CHECK(triplet_batch_hard(e, y, {.margin = 2}).item() == 1.5);
  }

  TEST_CASE("a collapsed batch: all losses are the margin, all gradients 0") {
    const Tensor e = ones({4, 2}, DType::f64), y = labels({0, 0, 1, 1});
    for (const Form form : {Form::closed, Form::definition}) {
      const auto all = [&](const Tensor& x) { return triplet_batch_all(x, y, {.margin = 0.7, .form = form}); };
      const auto hard = [&](const Tensor& x) { return triplet_batch_hard(x, y, {.margin = 0.7, .form = form}); };
      CHECK(all(e).item() == doctest::Approx(0.7));
      CHECK(hard(e).item() == doctest::Approx(0.7));
      CHECK(gradient(all, e) == Values(8, 0));
      CHECK(gradient(hard, e) == Values(8, 0));
    }
  }

  TEST_CASE("ties go to the lower row, and a hinge of exactly 0 passes no gradient") {
    // Anchor 0 has two negatives at distance 2; positives at 1.
    const Tensor e = line({0, 1, 2, -2}), y = labels({0, 0, 1, 1});
    for (const Form form : {Form::closed, Form::definition}) {
      const TripletMiningOptions rows{.margin = 3, .reduction = Reduction::none, .form = form};
      const auto first = [&](const Tensor& x) -> Tensor { return triplet_batch_hard(x, y, rows).rows(0, 1); };
      CHECK(gradient(first, e) == Values{0, 1, -1, 0});  // e0 is drawn to 1 and pushed from 2: -1 + 1
      const auto closed_hinge = [&](const Tensor& x) -> Tensor {
        return triplet_batch_hard(x, y, {.margin = 1, .reduction = Reduction::none, .form = form}).rows(0, 1);
      };
      CHECK(closed_hinge(e).to_vector() == Values{0});
      CHECK(gradient(closed_hinge, e) == Values(4, 0));
    }
  }

  TEST_CASE("the order of rows does not matter, nor the names of labels") {
    const Tensor e = between(-1, 1, {7, 3}, 2), y = labels({0, 1, 0, 2, 1, 0, 2}),
                 order = labels({3, 6, 0, 5, 1, 4, 2});
    const Tensor moved = index_select(e, 0, order), y_moved = labels({-9, -9, 5, 5, 4, 4, 5});
    CHECK(triplet_batch_all(moved, y_moved).item() == doctest::Approx(triplet_batch_all(e, y).item()));
    CHECK(triplet_batch_hard(moved, y_moved).item() == doctest::Approx(triplet_batch_hard(e, y).item()));
    CHECK(triplet_semi_hard(moved, y_moved).item() == doctest::Approx(triplet_semi_hard(e, y).item()));
    CHECK(triplet_batch_all(e, y.to(DType::i32)).item() == triplet_batch_all(e, y).item());
  }

  TEST_CASE("hard triplets cost at least as much as semi-hard ones, anchor by anchor with one positive each") {
    const Tensor e = between(-1, 1, {8, 2}, 5), y = labels({0, 0, 1, 1, 2, 2, 3, 3});
    const TripletMiningOptions rows{.reduction = Reduction::none};
    const Values hard = triplet_batch_hard(e, y, rows).to_vector(), semi = triplet_semi_hard(e, y, rows).to_vector();
    for (std::size_t a = 0; a < 8; ++a) CHECK(hard[a] >= semi[a]);
  }

  TEST_CASE("6.7 million triplets of a batch of 300 need no list: two clusters at distance 1, margin 1.5") {
    Tensor e = zeros({300, 2});
    std::vector<Index> y(300);
    for (Index r = 0; r < 300; ++r) {
      y[std::size_t(r)] = r % 2;
      set_value(e, 2 * r, double(r % 2));
    }
    const Tensor t = labels(y);
    CHECK(triplet_batch_all(e, t, {.margin = 1.5}).item() == doctest::Approx(0.5));
    const double total = 300.0 * 149 * 150;
    CHECK(triplet_batch_all(e, t, {.margin = 1.5, .reduction = Reduction::sum}).item() == doctest::Approx(total / 2));
    // Each triplet pushes its anchor and its negative apart with force 1: a point is in 149 * 150 triplets as an anchor and
    // in as many as a negative.
    const auto f = [&](const Tensor& x) { return triplet_batch_all(x, t, {.margin = 1.5}); };
    const Values g = gradient(f, e.to(DType::f64));
    CHECK(g[0] == doctest::Approx(2 * 149 * 150 / total));
    CHECK(g[2] == doctest::Approx(-2 * 149 * 150 / total));
    CHECK(g[1] == 0);
  }

  TEST_CASE("140 rows: the sum over triplets in plain loops, among points of a grid with their ties and without") {
    const Tensor apart = between(-1, 1, {140, 2}, 3), y = labels([] {
                                                        std::vector<Index> v(140);
                                                        for (Index r = 0; r < 140; ++r) v[std::size_t(r)] = r * r % 11;
                                                        return v;
                                                      }());
    Tensor grid = (2.0 * apart).clone();
    for (Index i = 0; i < grid.numel(); ++i) set_value(grid, i, std::round(value_at(grid, i)));
    for (const Tensor& e : {apart, grid}) {
      for (const Rule rule : {Rule::all, Rule::hard, Rule::semi}) {
        const auto f = [&](const Tensor& x) {
          if (rule == Rule::all) return triplet_batch_all(x, y, {.margin = 0.3, .reduction = Reduction::sum});
          const TripletMiningOptions o{.margin = 0.3, .reduction = Reduction::sum};
          return rule == Rule::hard ? triplet_batch_hard(x, y, o) : triplet_semi_hard(x, y, o);
        };
        const Direct wanted = direct(rule, e, y, 0.3);
        CHECK(f(e).item() == doctest::Approx(wanted.loss).epsilon(1e-11));
        check_near(gradient(f, e), wanted.gradient, 1e-10);
      }
    }
  }

  TEST_CASE("NaN in one embedding reaches the loss") {
    const Tensor e = line({0, NaN, 2, 3}), y = labels({0, 0, 1, 1});
    CHECK(std::isnan(triplet_batch_all(e, y).item()));
    CHECK(std::isnan(triplet_batch_hard(e, y).item()));
    CHECK(std::isnan(triplet_semi_hard(e, y).item()));
  }

  TEST_CASE("triplet_mining: what does not fit is an error that names it") {
    const Tensor e = zeros({3, 2}), y = labels({0, 0, 1});
    CHECK_THROWS_WITH_AS(triplet_batch_all(zeros({3}), y), doctest::Contains("needs embeddings [N,D]"), Error);
    CHECK_THROWS_WITH_AS(triplet_batch_hard(e, labels({0})), doctest::Contains("one label for each row"), Error);
    CHECK_THROWS_WITH_AS(triplet_semi_hard(e, Tensor()), doctest::Contains("one of them is undefined"), Error);
    CHECK_THROWS_WITH_AS(triplet_batch_all(e, y, {.margin = -1}), doctest::Contains("margin must be"), Error);
    CHECK_THROWS_WITH_AS(triplet_batch_all(e, zeros({3})), doctest::Contains("i32 or i64, got f32"), Error);
  }
}
