// The span loss of GlobalPointer straight from queries and keys: the map of T x T scores is never kept.
//                                                                                      [A082, A085-A091; C53, C55]
//   s_h(i,j) = c <R_i q_i, R_j k_j> + start_h(i) + end_h(j)                            (losses/logsumexp/pointer_scores.h)
//   L = 1/N sum_n sum_h  log(1 + sum_neg e^s) + log(1 + sum_pos e^-s)                  over valid cells (i,j)
//
// Valid: i <= j, both tokens kept by the mask, and j - i <= window where there is one. Labels of other cells count nothing,
// but a label beyond the window is an error: such an entity could never be found, and its score of -inf would make e^-s
// infinite.
//
// Derivation. With P and Q the two logarithms of type h,
//   dL/ds = e^{s - Q} at negatives, -e^{-s - P} at positives, 0 at cells that are not valid
//   dq_i = c sum_j ds_ij k_j      dk_j = c sum_i ds_ij q_i      dstart(i) = sum_j ds_ij      dend(j) = sum_i ds_ij
//
// Cost. Forward and backward each compute the scores of a block of rows, i < 128 say, at a time: one matrix product, a
// row body that sums or turns scores into ds, and two products more for dq and dk. So O(N H T^2 d) time as by any way,
// half of it saved by j >= i, and O(N H T) memory and the block, which has a fixed size, in place of O(N H T^2): that is
// what limits the length of sequences (C53: 4 T^2 bytes a type in f32). A window w makes it O(N H T w d) time.
//
// Promises. L >= 0; cells that are not valid have no loss and no gradient; all sequences masked: L = 0.
#pragma once
#include "losses/logsumexp/pointer_scores.h"

namespace gradus {

struct PointerLossOptions {
  bool rope = true, scale = true;  // as PointerOptions
  Index window = -1;               // j - i <= window; -1: any
  Form form = Form::closed;
};

// q, k [N,G,T,d]; start, end [N,H,T] or undefined; labels [N,H,T,T], not 0 where a span is; mask [N,T] or undefined  -> []
Tensor pointer_loss(At q, const Tensor& k, const Tensor& start, const Tensor& end, const Tensor& labels,
                    const Tensor& mask = {}, PointerLossOptions = {});

}  // namespace gradus
