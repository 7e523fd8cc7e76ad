// The hinge max(0, h) as PyTorch's clamp_min differentiates it: 1 at h = 0 too. NaN stays NaN.
#pragma once
#include "engine/dtype.h"

namespace gradus {

template <class T> HD T hinge(T h) { return h >= 0 ? h : h != h ? h : T(0); }
template <class T> HD T hinge_slope(T h) { return h >= 0 ? T(1) : h != h ? h : T(0); }

}  // namespace gradus
