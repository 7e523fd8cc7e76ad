// none, sum and mean over the whole table of losses: one loss in three sizes, and a gradient that obeys its cotangent.
#include <doctest/doctest.h>

#include <set>

#include "losses/softmax/class_balanced.h"
#include "tests/support/called.h"

using namespace gradus;

TEST_SUITE("reductions") {
  TEST_CASE("sum is the sum of none, mean is sum by what it divides by, and the gradients follow") {
    on_every_sample([](const LossInfo& info, const LossSample& s) {
      if (!has_option(info, "reduction")) return;
      const Called none = called(info, s.inputs, with(s.options, "reduction", "none")),
                   sum = called(info, s.inputs, with(s.options, "reduction", "sum")),
                   mean = called(info, s.inputs, with(s.options, "reduction", "mean"));
      double total = 0;
      for (const double v : none.value) total += v;
      check_near(sum.item(), total, 1e-11);
      CHECK(sum.shape == Shape{});
      CHECK(mean.shape == Shape{});
      for (const auto& [name, dx] : none.gradients) CHECK(gap(dx, sum.gradients.at(name)) <= 1e-11);
      if (mean.item() == 0) {
        CHECK((sum.item() == 0 || none.value.empty()));
        return;
      }
      const double divisor = sum.item() / mean.item();
      CHECK(divisor > 0);
      for (const auto& [name, dx] : mean.gradients) {
        Values scaled = sum.gradients.at(name);
        for (double& v : scaled) v /= divisor;
        CHECK(gap(scaled, dx) <= 1e-11);
      }
    });
  }

  TEST_CASE("mean divides by the elements or rows, by the rows kept, or by their weights") {
    // Whose divisor is a count of their own, said in their headers and tested beside them.
    const std::set<std::string> own = {"triplet_batch_all",
                                       "triplet_batch_hard",
                                       "triplet_semi_hard",
                                       "supcon",
                                       "curriculum",
                                       "co_teaching",
                                       "jocor",
                                       "crf"};
    on_every_sample([&](const LossInfo& info, const LossSample& s) {
      if (!has_option(info, "reduction") || own.contains(info.name)) return;
      const Called none = called(info, s.inputs, with(s.options, "reduction", "none")),
                   sum = called(info, s.inputs, with(s.options, "reduction", "sum")),
                   mean = called(info, s.inputs, with(s.options, "reduction", "mean"));
      double divisor = double(none.value.size());
      const std::string labels = s.inputs.contains("target") ? "target" : "labels";
      if (has_option(info, "ignore_index") && info.name != std::string("multilabel_ce_sparse")) {
        const Arguments a = arguments_for(info, s.inputs, s.options, Form::closed);
        Values weight;
        if (s.inputs.contains("weight")) weight = s.inputs.at("weight").to_vector();
        if (info.name == std::string("class_balanced_ce") && a.text("average") == "weighted") {
          weight = class_balanced_weights(s.inputs.at("class_counts"), {.beta = a.number("beta")}).to_vector();
        }
        divisor = 0;
        for (const double y : s.inputs.at(labels).to_vector()) {
          if (Index(y) != a.integer("ignore_index")) divisor += weight.empty() ? 1 : weight[std::size_t(y)];
        }
      }
      if (divisor > 0) check_near(mean.item() * divisor, sum.item(), 1e-11);
      if (divisor == 0) CHECK(mean.item() == 0);
    });
  }

  TEST_CASE("Liger 968 678 488 421: the gradient of a tensor value is the sum of its rows' by their cotangents") {
    on_every_sample([](const LossInfo& info, const LossSample& s) {
      const Options options = has_option(info, "reduction") ? with(s.options, "reduction", "none") : s.options;
      const Called plain = called(info, s.inputs, options);
      if (plain.value.size() < 2 || plain.gradients.empty()) return;
      const Values cotangent = random_cotangent(plain.value.size());
      for (const Form form : {Form::closed, Form::definition}) {
        if (form == Form::definition && !info.has_definition) continue;
        const Called all = called(info, s.inputs, options, cotangent, form);
        std::map<std::string, Values> sum;
        for (std::size_t i = 0; i < cotangent.size(); ++i) {
          Values one(cotangent.size(), 0.0);
          one[i] = cotangent[i];
          for (const auto& [name, dx] : called(info, s.inputs, options, one, form).gradients) {
            Values& total = sum[name];
            total.resize(dx.size());
            for (std::size_t k = 0; k < dx.size(); ++k) total[k] += dx[k];
          }
        }
        for (const auto& [name, dx] : all.gradients) CHECK(gap(sum[name], dx) <= 1e-10);
      }
    });
  }
}
