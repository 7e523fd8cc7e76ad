// The function that grad_check tests, at its point, in f64. It is seen in two ways:
//
//   slope       d y(x + t v)/dt at t = 0, by central differences      v = e_i: a column of the Jacobian
//   gradients   d <u, y>/dx, by the tape                              u = e_j: a row of it
#pragma once
#include <string>
#include <vector>

#include "engine/backward.h"

namespace gradus {

class GradCheckSubject {
 public:
  using Vector = std::vector<double>;
  struct Direction {  // along v in one input
    std::size_t input;
    Vector v;
    double size = 1;  // of the entry that moves
  };

  GradCheckSubject(const TensorFunction& f, const std::vector<Tensor>& inputs, const std::vector<int>& wrt);

  std::string fault;  // anything wrong but the values

  const std::vector<std::size_t>& checked() const { return checked_; }  // numbers of the inputs to differentiate by
  const Tensor& input(std::size_t k) const { return point_[k]; }
  const Vector& values() const { return values_; }
  std::string about(std::size_t k) const;  // "input 1, 'w' f64 [4,3]: "

  Vector value(const Direction& d, double t) const;  // y(x + t v)
  Vector slope(const Direction& d, double h) const;
  std::vector<Vector> gradients(const Vector& u);  // for each input; empty where it is not asked for

 private:
  const TensorFunction& f_;
  std::vector<Tensor> point_;
  std::vector<std::size_t> checked_;
  Vector values_;

  std::vector<Vector> sweep(Tape& tape, const Tensor& y, const Vector& u, double arrived_before) const;
};

}  // namespace gradus
