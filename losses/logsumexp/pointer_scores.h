// Scores of spans: how well token i begins and token j ends an entity of type h.        [A082, A083, A087-A091; C54, C60]
//
//   s_h(i,j) = c <R_i q_i, R_j k_j> + start_h(i) + end_h(j)          c = 1/sqrt(d) or 1
//
// q, k [N,G,T,d]: a query and a key for each token; G = H groups in GlobalPointer, one group for all types in its efficient
// form, which tells types apart by start and end [N,H,T] alone. R_t turns the pair (2i, 2i+1) by the angle
// t theta_i, theta_i = 10000^(-2i/d) (ops/rope.h).
//
// Derivation. R_i^T R_j = R_{j-i}: only the distance counts. With pairs q = (q0,q1), k = (k0,k1) and m = j - i:
//   <R_i q, R_j k> = sum over pairs  cos(m theta)(q0 k0 + q1 k1) + sin(m theta)(q1 k0 - q0 k1)
// definition: this sum, with a table of m by pairs. closed: turn each q and k once, then one matrix product.
//
// A limit of the efficient form (C60): s_g - s_h = (start_g - start_h)(i) + (end_g - end_h)(j), so what a type depends on is a
// sum of one word for the beginning and one for the end, never an interaction of both.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct PointerOptions {
  bool rope = true;   // false: R = 1
  bool scale = true;  // divide <q, k> by sqrt(d)
  Form form = Form::closed;
};

// q, k [N,G,T,d] (d even with rope); start, end [N,H,T], G = H or G = 1, both undefined: none  -> [N,H,T,T], nothing masked
Tensor pointer_scores(At q, const Tensor& k, const Tensor& start = {}, const Tensor& end = {}, PointerOptions = {});

// What every function of q and k checks; returns H.
Index check_pointer_inputs(const char* op, const Tensor& q, const Tensor& k, const Tensor& start, const Tensor& end,
                           bool rope);

// <R_i q, R_j k> of two vectors [d].  -> []
Tensor rope_score(At q, const Tensor& k, Index i, Index j, Form form = Form::closed);

Losses pointer_scores_losses();  // rope, rope_score

}  // namespace gradus
