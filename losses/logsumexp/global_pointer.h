// GlobalPointer and its efficient form, from hidden states to scores or to the loss: every span of a sentence is a class of
// its own, so spans may nest.                                              [A082-A090, A098, A099; B083-B089; C52-C60, D20, D21]
//
//   GlobalPointer    each of H types has projections of its own:   [q_h | k_h] = h W + b      2 D d + 2 d numbers a type
//   efficient        one query and key for all, types by a sum:    q = h Wq,  k = h Wk         4 d numbers a type
//     s_a(i,j) = c <R_i q_i, R_j k_j> + <w_a, [q_i; k_i; q_j; k_j]>
//              = c <R_i q_i, R_j k_j> + start_a(i) + end_a(j),   start = [q;k] w_a[:2d],  end = [q;k] w_a[2d:]
//
// The second line of the efficient form is its fast one: H projections of length 2 d for each token, none for each pair.
// Scores and loss follow in losses/logsumexp/pointer_scores.h and pointer_loss.h; rope and scale act on <q, k> alone.
//
// Variants are other weights w [H,4d] of the same function:
//   shared low rank   w = V U, U [r,4d] for all types, V [H,r]: 4 d r + H r numbers; less than 4 d H when r < 4dH/(4d+H)
//                     (C57: a factorisation per type, w_a = U_a V_a, has more numbers than w_a itself)
//   modulation        q_a = q * m_a, one side only: modulating both (C58) squares m and loses its sign
// Source. Su, "GlobalPointer", kexue.fm 8373 (2021), and "Efficient GlobalPointer", 8877 (2022).
#pragma once
#include "losses/logsumexp/pointer_loss.h"

namespace gradus {

// h [N,T,D], W [D,2 H d] and b [2 H d] laid out type by type as [q | k]  -> q, k [N,H,T,d]
struct QueriesKeys {
  Tensor q, k;
};
QueriesKeys project_pointer(At h, const Tensor& W, const Tensor& b, Index H);
// q, k [N,T,d] of all types, w [H,4d]  -> start, end [N,H,T]
struct StartEnd {
  Tensor start, end;
};
StartEnd project_types(const Tensor& q, const Tensor& k, const Tensor& w);

// -> [N,H,T,T], nothing masked
Tensor global_pointer_scores(At h, const Tensor& W, const Tensor& b, Index H, PointerOptions = {});
Tensor efficient_global_pointer_scores(At h, const Tensor& Wq, const Tensor& Wk, const Tensor& w, PointerOptions = {});

// labels [N,H,T,T], mask [N,T] or undefined  -> []
Tensor global_pointer(At h, const Tensor& W, const Tensor& b, const Tensor& labels, const Tensor& mask = {},
                      PointerLossOptions = {});
Tensor efficient_global_pointer(At h, const Tensor& Wq, const Tensor& Wk, const Tensor& w, const Tensor& labels,
                                const Tensor& mask = {}, PointerLossOptions = {});

// Numbers a head has to learn.                                                                                  [B084-B087]
Index global_pointer_parameters(Index D, Index d, Index H);     // 2 D d H, biases left out as in the source
Index efficient_pointer_parameters(Index D, Index d, Index H);  // 2 D d + 4 d H
Index modulated_pointer_parameters(Index D, Index d, Index H);  // 2 D d + d H
Index low_rank_pointer_parameters(Index d, Index H, Index r);   // 4 d r + H r in place of 4 d H

Losses global_pointer_losses();  // global_pointer, _scores, efficient_global_pointer, _scores

}  // namespace gradus
