// Class-balanced weights: a class counts by the effective number of its samples.               [A021, A037, A039; B023]
//
//   E_n = (1 - beta^n) / (1 - beta)                               effective number of n samples, beta in [0,1]
//   w_c = 1 / E_{n_c},  scaled so that sum_c w_c = C              weights [C] from counts n [C]
//   L = w_t CE(z, t)                                              one L per row
//
// Derivation. Samples overlap: the n-th counts as new by beta^{n-1} only, so E_n = sum_{i < n} beta^i. beta = 0
// weighs all classes alike, beta -> 1 weighs by 1/n; E_n never exceeds 1 / (1 - beta).
//
// Safe form. 1 - beta^n = -expm1(n log beta), which keeps its digits for beta near 1; at beta = 1, w_c = 1/n_c.
//
// Promises. A class with count 0 has weight 0 and no share in the scale: its label does not train, it gives no NaN.
//   Only counts of 0: all weights are 0 and so is L. Weights and counts are constants.
// Elsewhere. Cui 2019, beta from .9 to .9999. Its repository divides by 0 where a class is empty, and takes
//   log(1 + exp(-x)) of a logit, which is 0 instead of 100 at -100.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct ClassBalancedWeightsOptions {
  double beta = 0.9999;   // in [0,1]
  bool normalise = true;  // sum_c w_c = C; false: 1 / E_n as it is
  Form form = Form::closed;
};

// class_counts [C], integer or floating, >= 0 -> [C] in their type, f64 for integers
Tensor class_balanced_weights(const Tensor& class_counts, ClassBalancedWeightsOptions = {});

enum class Average { plain, weighted };  // over the rows kept: sum / N or sum / sum_rows w_t

struct ClassBalancedCeOptions {
  double beta = 0.9999;
  Average average = Average::plain;  // what Reduction::mean means
  Index ignore_index = -100;         // rows with this label are left out
  Reduction reduction = Reduction::mean;
  Form form = Form::closed;
};

// logits [N,C], labels int [N], class_counts [C] -> [] or [N]
Tensor class_balanced_ce(At logits, const Tensor& target, const Tensor& class_counts, ClassBalancedCeOptions = {});

// The counts as f64; error of `op` unless they are [C] and all >= 0. C < 0: any number of classes.
Tensor checked_class_counts(std::string_view op, const Tensor& class_counts, Index C);

Losses class_balanced_losses();  // class_balanced_weights, class_balanced_ce

}  // namespace gradus
