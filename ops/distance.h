// Distances and similarities between rows. Compositions of ops; a zero vector has cosine 0 with gradient 0, and two equal
// points have distance 0 with subgradient 0.
#pragma once
#include "engine/tensor.h"

namespace gradus {

Tensor dot(At u, const Tensor& v);                 // [..,D], [..,D] -> [..]   sum_j u_j v_j
Tensor cosine_similarity(At u, const Tensor& v);   // [..,D], [..,D] -> [..]   <u,v> / (|u| |v|)
Tensor squared_distance(At u, const Tensor& v);    // [..,D], [..,D] -> [..]   |u - v|^2
Tensor euclidean_distance(At u, const Tensor& v);  // [..,D], [..,D] -> [..]   |u - v|

Tensor cosine_matrix(At u, const Tensor& v);  // [N,D], [M,D] -> [N,M]
Tensor squared_distance_matrix(At u,
                               const Tensor& v);  // [N,D], [M,D] -> [N,M]   |u_i - v_j|^2, computed by differences

}  // namespace gradus
