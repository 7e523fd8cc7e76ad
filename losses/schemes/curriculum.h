// Curriculum: learn from the easy rows first, from all in the end.                       [A158, A160; B042, C92]
//
//   pace(t) = 1 - (1 - start) e^{-t / tau}                share of the rows that are learnt from at epoch t
//   L = 1/k sum_{i in S} l_i,   k = ceil(pace N),   S the k rows of least difficulty d_i
//
// Derivation. pace' = (1 - pace) / tau, pace(0) = start: each tau epochs, of what was left out only 1/e stays out.
//   dL/dl_i = [i in S] / k. The difficulty is a constant, from the model of now or from elsewhere: 1 - p_t, a length.
//
// Why by rank, and why divided by k. A threshold on d itself, weights = [d < 1 - e^{-t/10}] and the mean over the whole
// batch, learns nothing at epoch 0, where the threshold is 0; leaves out d >= 1 for ever, for the threshold stays below
// 1, when d is a cross entropy; and shrinks the step by k/N while rows are out.
//
// Promises. At least one row at every epoch, all from t > tau log((1 - start) N) on. Only the order of the difficulties
//   counts; ties go to the lower row, NaN counts as greatest. No rows: 0. start = 1: the plain mean.
// Elsewhere. Platanios et al. 2019 call the pace competence. No library has it.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct CurriculumOptions {
  double epoch = 0;                       // t >= 0, given at every call: there is no counter to forget
  double start = 0.2;                     // share at epoch 0, in [0,1]
  double time_constant = 10;              // tau > 0, in epochs
  Reduction reduction = Reduction::mean;  // mean: over the k rows; none: [N], 0 where left out
  Form form = Form::closed;
};

Tensor curriculum(At losses, const Tensor& difficulty, CurriculumOptions = {});  // [N], [N] -> [] or [N]

double curriculum_pace(const CurriculumOptions&);             // in [start, 1]
Index curriculum_rows(Index rows, const CurriculumOptions&);  // k

Losses curriculum_losses();  // curriculum

}  // namespace gradus
