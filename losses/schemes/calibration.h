// Calibration error: how far stated confidence is from accuracy, counted in bins, and a smooth version to train on.
//                                                                      [A154, A155; B037, B039, C39, C41, D25]
//   conf_r = max_c p_c,  hit_r = [the first c of greatest p is the label],  bin b = (b/B, (b+1)/B]
//   ECE = sum_b n_b/N |mean hit - mean conf over bin b|
//
// Derivation. n_b cancels against the means, so no counts are needed and empty bins cost nothing:
//   ECE = 1/N sum_b |G_b|,  G_b = sum_{r in b} (hit_r - conf_r)
// The bins weigh by their counts; a plain mean of the bins' gaps is another number (C39).
//
// Soft version (Karandikar et al. 2021). Rows belong to all bins in part, by distance from x_b = (b + 1/2) / B:
//   u_rb = softmax_b( -(conf_r - x_b)^2 / T ),   soft ECE = 1/N sum_b |sum_r u_rb (hit_r - conf_r)|
// With s_b = sign(G_b) / N, e = hit - conf and a bar for the mean under u_r:
//   dL/dconf_r = 2 e_r / T (bar(s x) - bar(s) bar(x)) - bar(s)
//   dconf/dz_j = conf ([j = k] - p_j)                 k the class of greatest p; hit is a constant
// T -> 0 gives ECE, for the nearest centre is that of the bin.
//
// Safe form. 1 - conf = rest / (1 + rest), rest = sum_{c != k} e^{z_c - z_k}: no digits lost where conf is near 1. The
// softmax over bins is taken from its maximum.
//
// Promises. 0 <= ECE <= 1. A shift of a row's logits changes nothing. No rows: 0. Both are computed in f64 inside. ECE
//   is a step function of the logits, so it has no gradient here. It is not proper: a constant predictor that knows the
//   class frequencies has ECE 0.
// Elsewhere. gpleiss _ECELoss: the same bins and value. Edges are b/B as divided, not sums of 1/B.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct EceOptions {
  Index bins = 15;
  Form form = Form::closed;
};
// logits [N,C], labels int [N]  -> []
Tensor ece(const Tensor& logits, const Tensor& labels, EceOptions = {});

struct SoftEceOptions {
  Index bins = 15;
  double temperature = 0.01;  // T > 0, of the bins' memberships
  Form form = Form::closed;
};
Tensor soft_ece(At logits, const Tensor& labels, SoftEceOptions = {});  // -> []

// What a reliability diagram shows.
struct ReliabilityBin {
  Index count;
  double accuracy, confidence;  // means; 0 in an empty bin
};
std::vector<ReliabilityBin> reliability(const Tensor& logits, const Tensor& labels, Index bins = 15);

Losses calibration_losses();  // ece, soft_ece

}  // namespace gradus
