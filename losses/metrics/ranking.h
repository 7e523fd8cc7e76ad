// Metrics of an order: average precision, its mean over classes, recall at k.                          [A173]
//
//   average_precision       mean over the positives i of #{positives j: s_j >= s_i} / #{j: s_j >= s_i}
//   mean_average_precision  the mean of it over the classes that have positives (mAP)
//   recall_at_k             share of queries with a positive among the k candidates most like them
//
// Derivation. Average precision is the area under precision over recall, sum over thresholds of (R_k - R_{k-1}) P_k.
// Recall rises by 1/positives at each positive, so the sum is the mean of the precision at the positives' scores. Equal
// scores fall together: the precision at s_i counts all of them, so the order of the rows does not matter.
// A positive is among the first k exactly when fewer than k negatives score as high or higher: no sorting is needed. So
// a tie goes against the positive, and an embedding that maps all to one point has recall 0 rather than luck.
//
// Promises. All lie in [0,1], and a rising function of the scores changes nothing. No positive: 0. A query with no
//   other row of its label has nothing to find and is left out. NaN scores are an error. Orders are
//   read on the CPU; the similarities of recall_at_k are computed on the device of the embeddings.
// Elsewhere. scikit-learn average_precision_score: the same value. Metric-learning papers call recall_at_k R@k; some
//   count queries without a positive as failures.
#pragma once
#include "losses/loss.h"

namespace gradus {

// scores [N], labels 0/1 [N] of any type
double average_precision(const Tensor& scores, const Tensor& labels, Form form = Form::closed);
// scores [N,C], labels 0/1 [N,C]
double mean_average_precision(const Tensor& scores, const Tensor& labels, Form form = Form::closed);

struct RecallOptions {
  Index k = 1;
  Form form = Form::closed;
};
// embeddings [N,D], labels int [N]: each row asks for the others of its label, by cosine.
double recall_at_k(const Tensor& embeddings, const Tensor& labels, RecallOptions = {});
// similarity [N,M], positive int [N]: row i asks for column positive_i.
double recall_at_k_of(const Tensor& similarity, const Tensor& positive, RecallOptions = {});

Losses ranking_losses();  // average_precision, mean_average_precision, recall_at_k, recall_at_k_of

}  // namespace gradus
