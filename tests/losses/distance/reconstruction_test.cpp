// Reconstruction loss: the proof, its relation to mse, errors.
#include "losses/distance/reconstruction.h"

#include <doctest/doctest.h>

#include "engine/backward.h"
#include "losses/distance/regression.h"
#include "tests/support/loss_case.h"

using namespace gradus;

TEST_SUITE("reconstruction") {
  TEST_CASE("reconstruction: definition, closed form and central differences agree") {
    check_losses(reconstruction_losses());
  }

  TEST_CASE("A140 by hand: features are summed, samples averaged") {
    const Tensor x = matrix({1, 2, 3, 4}, 2), y = matrix({1, 0, 0, 0}, 2);
    for (const Form form : {Form::closed, Form::definition}) {
      CHECK(reconstruction(x, y, {.form = form}).item() == 14.5);
      CHECK(reconstruction(x, y, {.reduction = Reduction::none, .form = form}).to_vector() == Values{4, 25});
      const auto f = [&](const Tensor& p) { return reconstruction(p, y, {.form = form}); };
      CHECK(slopes(x, f) == Values{0, 2, 3, 4});
    }
  }

  TEST_CASE("it is mse times the number of features, and a sample's loss does not depend on its batch") {
    const Tensor x = between(-1, 1, {4, 3, 5}, 1), y = between(-1, 1, {4, 3, 5}, 2);
    CHECK(reconstruction(x, y).item() == doctest::Approx(15 * mse(x, y).item()));
    const Values each = reconstruction(x, y, {.reduction = Reduction::none}).to_vector();
    for (Index r = 0; r < 4; ++r) {
      CHECK(reconstruction(x.rows(r, r + 1), y.rows(r, r + 1)).item() == each[std::size_t(r)]);
    }
  }

  TEST_CASE("reconstruction: what does not fit is an error that names it") {
    CHECK_THROWS_WITH_AS(reconstruction(zeros({2, 3}), zeros({2, 4})), doctest::Contains("tensors of one shape"),
                         Error);
    CHECK_THROWS_WITH_AS(reconstruction(scalar(1), scalar(1)), doctest::Contains("samples along the first axis"),
                         Error);
  }
}
