// Spearman's rank correlation: do two scores order the rows alike? The metric of CoSENT.               [A081, A173]
//
//   rho = Pearson correlation of the ranks,  rank_i = #{x_j < x_i} + (#{x_j = x_i} + 1) / 2          x, y [n]
//
// Ties share their average rank. Derivation of the sums: ranks add up to n (n + 1) / 2 whatever the ties, so both have
// the mean (n + 1) / 2; centred ranks are whole halves, and their products are summed without rounding.
//   rho = sum a_i b_i / sqrt(sum a_i^2 sum b_i^2),  a, b the centred ranks
// The short form 1 - 6 sum d^2 / (n^3 - n) holds without ties only.
//
// Promises. -1 <= rho <= 1; only the order counts: an increasing function of x changes nothing, a decreasing one the
//   sign. Fewer than two rows, or a constant x or y: 0, there is no order to compare. NaN in, NaN out. O(n log n).
//   Values are sorted on their device, ranks compared on the CPU.
// Elsewhere. scipy.stats.spearmanr: the same value, NaN for a constant.
#pragma once
#include "losses/loss.h"

namespace gradus {

double spearman(const Tensor& x, const Tensor& y, Form form = Form::closed);  // [n], [n]

Tensor average_ranks(const Tensor& x, Form form = Form::closed);  // [n] -> f64 [n], from 1

Losses spearman_losses();  // spearman

}  // namespace gradus
