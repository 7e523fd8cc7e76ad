// CoSENT for the order of graded pairs and InfoNCE for contrast within the batch, from one matrix of cosines.
//                                                                                                        [A071, A072]
//
//   L = alpha CoSENT(s, y) + (1 - alpha) mean_{i: y_i >= y_pos} InfoNCE_i          s_r = cos(u_r, v_r), y [N] labels
//
// CoSENT only compares the N given pairs; InfoNCE also says that u_i and v_j of different pairs do not belong
// together. Both come from C = cosines of all u_i, v_j: s is its diagonal, InfoNCE a softmax of its rows.
// A batch too large for the matrix (info_nce_rows.h) computes the diagonal by itself.
//
// InfoNCE takes every pair for a match, whatever its label. Where low labels mean "not similar", positive_from says
// from which label on a pair is one; the others remain candidates.
//
// Derivation. dL = alpha dCoSENT + (1 - alpha) dInfoNCE: the tape adds both on C. See cosent.h and info_nce_rows.h.
//
// Promises. alpha = 1 is cosent_embeddings and alpha = 0 is info_nce. No pair from positive_from on: that term is 0. A
//   zero vector has cosine 0 and gradient 0. scale 20 and temperature 0.05 = 1 / 20: both terms are equally sharp.
// Elsewhere. No library has it under one name; it is the weighted sum of two of sentence-transformers' losses.
#pragma once
#include <limits>

#include "losses/loss.h"

namespace gradus {

struct HybridOptions {
  double alpha = 0.7;         // in [0,1]
  double scale = 20;          // of CoSENT
  double temperature = 0.05;  // of InfoNCE
  double positive_from = -std::numeric_limits<double>::infinity();
  Form form = Form::closed;
};

// u, v [N,D], labels [N].  -> []
Tensor hybrid(At u, const Tensor& v, const Tensor& labels, HybridOptions = {});

Losses hybrid_losses();  // hybrid

}  // namespace gradus
