// What InfoNCE, NT-Xent and SupCon share: each row of a similarity matrix is a softmax over candidates that should
// choose the positives.
//
//   L_r = log sum_{c in A(r)} e^{x_rc} - 1/|P(r)| sum_{c in P(r)} x_rc,      x = S / temperature, P(r) a part of A(r)
//   dL_r/dS_rc = ([c in A(r)] p_rc - [c in P(r)] / |P(r)|) / temperature,    p_r = softmax of x_r over A(r)
//
// Only A and P differ:
//   Positives::diagonal   P = {r}, the other view;              A = all, less other columns of the row's own id
//   Positives::same_id    P = columns of the row's id, not r;   A = all but r
//
// Every L_r is >= 0, since A contains P. With x_k the greatest candidate, L_r = log(1 + sum_{c != k} e^{x_c - x_k})
// plus the mean of x_k - x_p: terms >= 0, so a loss of 1e-20 is not rounded to 0. A row without positives: 0.
#pragma once
#include "engine/tensor.h"
#include "losses/reduction.h"
#include "ops/form.h"

namespace gradus {

enum class Positives { diagonal, same_id };

// similarity [N,N]; ids [N] i64, undefined for Positives::diagonal without masking.  -> [N]
Tensor info_nce_rows(At similarity, const Tensor& ids, Positives positives, double temperature, Form form);

// The same for similarity = q k^T, q and k [N,D]. From N = 4097 on, or when block_rows are given, the matrix is never
// whole: blocks of rows are multiplied, used and dropped, and multiplied again for the gradient. That is four products
// instead of three, and O(N D) memory beside one block of 2^24 similarities.  -> [N]
Tensor info_nce_products(At q, const Tensor& k, const Tensor& ids, Positives positives, double temperature, Form form,
                         Index block_rows = 0);
bool info_nce_streams(Index N);

// Errors of the three losses.
void check_temperature(const char* loss, double temperature);
void check_views(const char* loss, const Tensor& a, const Tensor& b);  // both [N,D] of one type

}  // namespace gradus
