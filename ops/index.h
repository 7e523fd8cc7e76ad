// Picking by index: embedding, index_select, gather, scatter_add, one_hot. Indices are i32 or i64 and carry no gradient;
// one that is out of range is an error that names its place. An index used twice adds its gradients, in index order.
#pragma once
#include "engine/tensor.h"

namespace gradus {

// y[..,:] = weight[indices[..],:]        dweight[indices[..],:] += dy[..,:]
// weight [V,D], indices [..] -> [..,D]
Tensor embedding(At weight, const Tensor& indices);
// y = x[indices] along `axis`; indices [K]
Tensor index_select(At x, int axis, const Tensor& indices);
// y[i..] = x[.., index[i..], ..] along `axis`; shapes equal but for that axis
Tensor gather(At x, int axis, const Tensor& index);
// y = x, then y[.., index[i..], ..] += source[i..]: the gradient of gather
Tensor scatter_add(At x, int axis, const Tensor& index, const Tensor& source);
// [..] -> [..,C], 1 at the index, 0 elsewhere
Tensor one_hot(const Tensor& indices, Index classes, DType dtype = DType::f32);

// Error of `op` unless all are in 0..n-1 (or equal to `ignored`): "label 12 at [3] is outside 0..9".
void check_indices(std::string_view op, std::string_view what, const Tensor& indices, Index n,
                   const Index* ignored = nullptr);
// i32 or i64 as i64; a copy only for i32.
Tensor as_index(std::string_view op, const Tensor& indices);
// gather of what is known to be right: not recorded, nothing checked.
Tensor gathered(const Tensor& x, int axis, const Tensor& index);

}  // namespace gradus
