// Cosine of two vectors, as a value of its own and as a loss of pairs.                          [A060, A063; B062, C11]
//
//   cosine_similarity   c = <u, v> / (|u| |v|)                         u, v [..,D]; one c per row
//   cosine_embedding    L = 1 - c where y = 1,  max(0, c - margin) where y = -1
//
// Derivation. With a = u / |u| and b = v / |v|:
//   dc/du = v / (|u| |v|) - <u, v> u / (|u|^3 |v|) = (b - c a) / |u|
// It is orthogonal to u (a cosine does not see lengths) and has length sin(u, v) / |u|: no pull for parallel vectors, and a
// weak one for long vectors. The short form v - c u holds only where both are unit vectors; |u| = 1 does not suffice.
//
// Safe form. 1 - c = |a - b|^2 / 2 keeps its digits for nearly parallel vectors, and b - c a = (b - a) + (1 - c) a.
//
// Promises. -1 <= c <= 1 up to rounding. A zero vector has cosine 0 and gradient 0, and gives the other one gradient 0.
//   Scaling u or v changes nothing. cosine_embedding lies in [0, 2]; its corner has the slope of PyTorch, 1.
// Elsewhere. PyTorch cosine_similarity takes no length below 1e-8 and so shrinks the cosine of shorter vectors;
//   cosine_embedding_loss adds 1e-12 to the squared lengths. Here is no epsilon.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct CosineOptions {
  Form form = Form::closed;
};
struct CosineEmbeddingOptions {
  double margin = 0;                      // in [-1,1]
  Reduction reduction = Reduction::mean;  // mean divides by N
  Form form = Form::closed;
};

// One node instead of the composition cosine_similarity(u, v) of ops/distance.h.  [..,D], [..,D] -> [..]
Tensor cosine_similarity(At u, const Tensor& v, CosineOptions o);

// x1, x2 [N,D]; y [N], 1: alike, -1: not alike; no gradient.  -> [] or [N]
Tensor cosine_embedding(At x1, const Tensor& x2, const Tensor& y, CosineEmbeddingOptions = {});

Losses cosine_losses();  // cosine_similarity, cosine_embedding

}  // namespace gradus
