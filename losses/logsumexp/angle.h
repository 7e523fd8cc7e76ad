// AnglE ranks pairs of texts like CoSENT, but scores a pair by the angle between two complex vectors, whose slope does
// not fade where a cosine saturates.                                                                   [Li and Li 2023]
//
//   z = a + ib,  w = c + id          u = [a; b], v = [c; d]: the halves of a row are its real and imaginary part
//   s = | sum_d Re q_d + sum_d Im q_d |,   q = z / w  with lengths divided out:  q_d = z_d conj(w_d) / (|u| |v|)
//   L = CoSENT(s, y) = log(1 + sum_{y_i > y_j} e^{k (s_j - s_i)})
//
// Derivation. sum Re q = (<a,c> + <b,d>) / (|u| |v|) = cos(u, v), and with Jv = [-d; c], which is v times i,
// sum Im q = (<b,c> - <a,d>) / (|u| |v|) = cos(u, Jv). So with t = v + Jv = [c - d; d + c], of length sqrt(2) |v|:
//   s = |<u, t>| / (|u| |v|) = sqrt(2) |cos(u, t)|
// A multiplication by (1 + i) and a cosine: s is a cosine after a turn by 45 degrees, in [0, sqrt(2)]. With
// u' = u / |u|, t' = t / |v|, and sigma the sign of <u', t'>:
//   ds/du = sigma (t' - <u', t'> u') / |u|
//   ds/dv = sigma (r' - <u', t'> v') / |v|,   r = u - Ju = [a + b; b - a], since <u, v + Jv> = <u - Ju, v>
//
// Promises. Lengths of u and v do not count. A zero vector has score 0 and gradient 0. At s = 0 the subgradient is 0,
//   as that of abs in PyTorch. Otherwise all promises of CoSENT: order only, ties exact, O(N log N), finite in f32.
// Elsewhere. sentence-transformers AnglELoss: same scores, scale 20. The authors' angle_loss: same, scale 1 (their
//   tau). Both divide by |w|^2: NaN for a zero vector. Here 20, so that AnglE and CoSENT exchange without a change of
//   scale.
#pragma once
#include "losses/logsumexp/cosent.h"

namespace gradus {

struct AngleOptions {
  double scale = 20;  // k
  Form form = Form::closed;
};

// u, v [N,D] with D even, labels [N] of any type.  -> []
Tensor angle(At u, const Tensor& v, const Tensor& labels, AngleOptions = {});

// The scores alone: u, v [N,D] -> [N]
Tensor angle_scores(At u, const Tensor& v, Form form = Form::closed);

Losses angle_losses();  // angle

}  // namespace gradus
