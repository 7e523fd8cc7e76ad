// A loss of every element, and its sum in the same pass.
//
//   l_i = value(x_i, ..)        Reduction::none: l of the shape of x
//   sum, mean                   the sum of each row of l: the tape adds few numbers, and neither l nor dl takes memory
//
// A row is one of the last axis where something depends on the column, else element_row elements in a line.
//
//   struct Bce {
//     static constexpr auto name = "bce_with_logits";              of the node
//     static constexpr int sides = 2;                              inputs that have a gradient: 0 .. sides - 1
//     Index row_length(In in) const;
//     dispatch<T>(in, f)                                           calls f(rows)
//   };
//   rows.pick(team, begin, count, f)         calls f(term) with what fits the elements begin .. begin + count
//   term.value(i, c)                         l at element i, column c of its row
//   term.template slope<Side>(i, c)          its derivative
#pragma once
#include <algorithm>

#include "losses/loss.h"
#include "ops/elementwise.h"

namespace gradus {

inline constexpr Index element_row = 4096;

// Elements 0..n in rows; the last row may be shorter.
struct ElementRows {
  Index length, n;
  HD Index begin(Index r) const { return r * length; }
  HD Index count(Index r) const { return n - begin(r) < length ? n - begin(r) : length; }
  Index rows() const { return (n + length - 1) / length; }
};

template <class T, class Rows, bool Sums> struct ElementLoss {
  Rows terms;
  ElementRows rows;
  T* l;  // [..], or a sum for each row
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const Index begin = rows.begin(r), count = rows.count(r);
    T* to = l + (Sums ? r : begin);
    terms.pick(team, begin, count, [=](auto term) {
      if constexpr (Sums) {
        const T sum = team.template sum<T>(count, [=](Index j) { return term.value(begin + j, j); });
        if (team.leads()) *to = sum;
      } else {
        team.each(count, [=](Index j) { to[j] = term.value(begin + j, j); });
      }
    });
  }
};

template <class T, class Rows, bool Sums, bool Add, int Side> struct ElementSlope {
  Rows terms;
  ElementRows rows;
  const T* dl;
  T* dx;
  template <class Team> [[gnu::flatten]] HD void operator()(Index r, Team team) const {
    const Index begin = rows.begin(r), count = rows.count(r);
    const T* up = dl + (Sums ? r : begin);
    const T all = Sums ? *up : T(0);
    T* to = dx + begin;
    terms.pick(team, begin, count, [=](auto term) {
      team.each(count, [=](Index j) {
        const T v = (Sums ? all : up[j]) * term.template slope<Side>(begin + j, j);
        to[j] = Add ? to[j] + v : v;
      });
    });
  }
};

// in: x, and what Loss reads beside it.  y: l, or the sums of its rows.
template <class Loss> struct ElementNode final : Op {
  Loss loss;
  bool sums;
  ElementNode(Loss l, bool s) : loss(l), sums(s) {}
  const char* name() const override { return Loss::name; }
  ElementRows rows(In in) const { return {std::max<Index>(1, loss.row_length(in)), in[0].numel()}; }

  Tensor forward(In in) override {
    const ElementRows r = rows(in);
    Tensor y = empty(sums ? Shape{r.rows()} : in[0].shape(), in[0].dtype(), in[0].device());
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      loss.template dispatch<T>(in, [&]<class Rows>(const Rows& terms) {
        with_flag(sums, [&]<bool Sums>() {
          launch_rows(y.device(), r.rows(), r.length, ElementLoss<T, Rows, Sums>{terms, r, y.template data_mut<T>()});
        });
      });
    });
    return y;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    if (dx.wants(0)) side<0>(dy, in, dx);
    if constexpr (Loss::sides > 1) {
      if (dx.wants(1)) side<1>(dy, in, dx);
    }
  }

 private:
  template <int Side> void side(const Tensor& dy, In in, Out dx) {
    const ElementRows r = rows(in);
    auto [sum, started] = dx.sum(Side);
    dispatch_float(name(), dy.dtype(), [&, &to = sum, add = started]<class T>() {
      loss.template dispatch<T>(in, [&]<class Rows>(const Rows& terms) {
        with_flag(sums, [&]<bool Sums>() {
          with_flag(add, [&]<bool Add>() {
            launch_rows(dy.device(), r.rows(), r.length,
                        ElementSlope<T, Rows, Sums, Add, Side>{terms, r, dy.data<T>(), to.template data_mut<T>()});
          });
        });
      });
    });
  }
};

// inputs: x first
template <class Loss, class... Inputs>
Tensor element_loss(Loss loss, Reduction reduction, At x, const Inputs&... inputs) {
  const Tensor l = apply(ElementNode<Loss>(loss, reduction != Reduction::none), x, inputs...);
  return reduce_rows(At(l, x.line), reduction, double(x->numel()));
}

}  // namespace gradus
