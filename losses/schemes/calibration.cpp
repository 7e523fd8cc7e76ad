#include "losses/schemes/calibration.h"

#include <algorithm>
#include <cmath>

#include "losses/schemes/log_partition.h"
#include "ops/math.h"
#include "ops/reduce.h"
#include "ops/select.h"
#include "ops/softmax.h"
#include "ops/sort.h"

namespace gradus {
namespace {

// Each row's winner: conf = 1 / (1 + rest), gap = hit - conf
struct Winners {
  Tensor conf, gap;  // f64 [N]
  Tensor k;          // i64 [N]
};

template <class T> struct FindWinner {
  const T* logits;
  const Index* label;
  Index C;
  double *conf, *gap;
  Index* k;
  template <class Team> HD void operator()(Index r, Team team) const {
    const T* z = logits + r * C;
    const Index best = team.template argmax<T>(C, [=](Index j) { return z[j]; });
    const double top = double(z[best]);
    const double rest =
        team.template sum<double>(C, [=](Index j) { return j == best ? 0.0 : vmath::exp(double(z[j]) - top); });
    if (team.leads()) {
      conf[r] = 1 / (1 + rest);
      gap[r] = best == label[r] ? rest / (1 + rest) : -1 / (1 + rest);
      k[r] = best;
    }
  }
};

Winners winners(const Tensor& logits, const Tensor& labels) {
  const Index N = logits.size(0), C = logits.size(1);
  const auto numbers = [&] { return empty({N}, DType::f64, logits.device()); };
  Winners w{numbers(), numbers(), empty({N}, DType::i64, logits.device())};
  dispatch_float("ece", logits.dtype(), [&]<class T>() {
    launch_rows(logits.device(), N, C,
                FindWinner<T>{logits.data<T>(), labels.data<Index>(), C, w.conf.data_mut<double>(),
                              w.gap.data_mut<double>(), w.k.data_mut<Index>()});
  });
  return w;
}

// b with conf in (b/B, (b+1)/B]; the product conf B may be off by a rounding, the edges decide.
Index bin_of(double conf, Index B) {
  Index b = std::min(B - 1, std::max<Index>(0, Index(std::ceil(conf * double(B))) - 1));
  while (b > 0 && conf <= double(b) / double(B)) --b;
  while (b < B - 1 && conf > double(b + 1) / double(B)) ++b;
  return b;
}

// ---- as the derivations start

Tensor confidences(At logits) { return max(softmax(logits), 1); }  // [N]

Tensor hits(const Tensor& logits, const Tensor& labels) {
  return equal(argmax(logits, 1), labels).to(logits.dtype());  // [N]
}

double ece_definition(const Tensor& logits, const Tensor& labels, Index B) {
  if (logits.size(0) == 0) return 0;
  const auto conf = confidences(logits.detach()).to_vector(), hit = hits(logits, labels).to_vector();
  double total = 0;
  for (Index b = 0; b < B; ++b) {
    double n = 0, sum_hit = 0, sum_conf = 0;
    for (std::size_t r = 0; r < conf.size(); ++r) {
      if (conf[r] > double(b) / double(B) && conf[r] <= double(b + 1) / double(B)) {
        n += 1, sum_hit += hit[r], sum_conf += conf[r];
      }
    }
    if (n > 0) total += n / double(conf.size()) * std::abs(sum_hit / n - sum_conf / n);
  }
  return total;
}

Tensor centres(Index B, const Tensor& like) {  // [B]
  return (arange(B, like.dtype(), like.device()) + 0.5) / double(B);
}

Tensor soft_definition(At logits, const Tensor& labels, Index B, double T) {
  const Index N = logits->size(0);
  if (N == 0) return sum(logits);
  const Tensor conf = confidences(logits).reshape({N, 1}), hit = hits(logits, labels).reshape({N, 1});  // [N,1]
  const Tensor u = softmax(-square(conf - centres(B, logits)) / T);                                     // [N,B]
  return sum(abs(sum(u * (hit - conf), {0}))) / double(N);
}

// ---- as the derivations end

double ece_closed(const Tensor& logits, const Tensor& labels, Index B) {
  const Winners w = winners(logits, labels);
  const std::vector<double> conf = w.conf.to_vector(), gap = w.gap.to_vector();
  std::vector<double> G(static_cast<std::size_t>(B));
  bool poison = false;
  for (std::size_t r = 0; r < conf.size(); ++r) {
    if (std::isnan(conf[r]))
      poison = true;
    else
      G[std::size_t(bin_of(conf[r], B))] += gap[r];
  }
  double total = poison ? NAN : 0;
  for (const double g : G) total += std::abs(g);
  return logits.size(0) ? total / double(logits.size(0)) : 0;
}

// u_b = softmax_b( -(conf - x_b)^2 / T ) of each row, less the exponent of the nearest centre, so that one term is 1
struct Membership {
  Index B;
  double temperature;
  const double *conf, *gap, *total;
  HD double centre(Index b) const { return (double(b) + 0.5) / double(B); }
  HD double exponent(Index r, Index b) const {
    const double d = conf[r] - centre(b);
    return -d * d / temperature;
  }
  HD double nearest(Index r) const {
    const double place = conf[r] * double(B);
    return exponent(r, place >= double(B) ? B - 1 : place > 0 ? Index(place) : 0);  // 0 for NaN
  }
  HD double term(Index r, Index b, double top) const { return vmath::exp(exponent(r, b) - top); }
};
struct Normalise {
  Membership of;
  double* total;
  template <class Team> HD void operator()(Index r, Team team) const {
    const Membership m = of;
    const double top = m.nearest(r);
    const double sum = team.template sum<double>(m.B, [=](Index b) { return m.term(r, b, top); });
    if (team.leads()) total[r] = sum;
  }
};
// G_b = sum_r u_rb e_r: what the bin adds to L, and sign(G_b) / N
struct BinGap {
  Membership of;
  Index N;
  double *part, *s;
  template <class Team> HD void operator()(Index b, Team team) const {
    const Membership m = of;
    const double G =
        team.template sum<double>(N, [=](Index r) { return m.term(r, b, m.nearest(r)) * (m.gap[r] / m.total[r]); });
    const double n = N > 1 ? double(N) : 1.0;
    if (team.leads()) part[b] = std::abs(G) / n, s[b] = double((G > 0) - (G < 0)) / n;
  }
};
template <class T> struct SumOfBins {
  const double* part;
  Index B;
  T* y;
  template <class Team> HD void operator()(Index, Team team) const {
    const double* p = part;
    const double sum = team.template sum<double>(B, [=](Index b) { return p[b]; });
    if (team.leads()) *y = T(sum);
  }
};
// dL/dconf = sum_b u_b s_b [ 2 e / T (x_b - bar(x)) - 1 ], and from there to the logits
template <class T> struct SoftGradient {
  Membership of;
  const double* s;
  const T *logits, *dy;
  const Index* winner;
  Index C;
  T* dz;
  template <class Team> HD void operator()(Index r, Team team) const {
    const Membership m = of;
    const double* sign = s;
    const double top = m.nearest(r), total = m.total[r], steep = 2 * m.gap[r] / m.temperature;
    const double mean =
        team.template sum<double>(m.B, [=](Index b) { return m.term(r, b, top) * m.centre(b); }) / total;
    const double slope = team.template sum<double>(m.B, [=](Index b) {
      return m.term(r, b, top) * (sign[b] * (steep * (m.centre(b) - mean) - 1));
    }) / total;
    const Index k = winner[r];
    const T* z = logits + r * C;
    T* to = dz + r * C;
    const double conf = m.conf[r], most = double(z[k]), g = double(*dy) * slope * conf;
    const auto p = [=](Index j) { return j == k ? 0.0 : conf * vmath::exp(double(z[j]) - most); };
    const double others = team.template sum<double>(C, p);  // 1 - p_k
    team.each(C, [=](Index j) { to[j] += T(g * (j == k ? others : -p(j))); });
  }
};

// L = 1/N sum_b |sum_r u_rb e_r|,  e = hit - conf
// dL/dz_j = [2 e / T (bar(s x) - bar(s) bar(x)) - bar(s)] conf ([j = k] - p_j),  s_b = sign(G_b) / N
struct SoftEce final : Op {
  Index B;
  double temperature;
  Winners rows;
  Tensor total, s;  // f64 [N], [B]
  SoftEce(Index bins, double T) : B(bins), temperature(T) {}
  const char* name() const override { return "soft_ece"; }

  Membership membership() const {
    return {B, temperature, rows.conf.data<double>(), rows.gap.data<double>(), total.data<double>()};
  }

  Tensor forward(In in) override {
    Device& device = in[0].device();
    const Index N = in[0].size(0);
    rows = winners(in[0], in[1]);
    total = empty({N}, DType::f64, device), s = empty({B}, DType::f64, device);
    Tensor part = empty({B}, DType::f64, device), y = empty({}, in[0].dtype(), device);
    launch_rows(device, N, B, Normalise{membership(), total.data_mut<double>()});
    launch_rows(device, B, N, BinGap{membership(), N, part.data_mut<double>(), s.data_mut<double>()});
    dispatch_float(name(), y.dtype(), [&]<class T>() {
      launch_rows(device, 1, B, SumOfBins<T>{part.data<double>(), B, y.data_mut<T>()});
    });
    return y;
  }

  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Index N = in[0].size(0), C = in[0].size(1);
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      launch_rows(dy.device(), N, std::max(B, C),
                  SoftGradient<T>{membership(), s.data<double>(), in[0].data<T>(), dy.data<T>(), rows.k.data<Index>(),
                                  C, dx.into(0).template data_mut<T>()});
    });
  }
};

Tensor checked(const char* op, const Tensor& logits, const Tensor& labels, Index bins) {
  check_logits(op, logits);
  constexpr Index most = Index(1) << 24;  // what fits in memory
  if (bins < 1) fail(op, "bins must be at least 1, got " + std::to_string(bins));
  if (bins > most) fail(op, "bins must be at most " + std::to_string(most) + ", got " + std::to_string(bins));
  return checked_labels(op, "labels", logits, labels);
}

}  // namespace

Tensor ece(const Tensor& logits, const Tensor& labels, EceOptions o) {
  const Tensor index = checked("ece", logits, labels, o.bins);
  const double value =
      o.form == Form::definition ? ece_definition(logits, index, o.bins) : ece_closed(logits, index, o.bins);
  return full({}, value, logits.dtype(), logits.device());
}

Tensor soft_ece(At logits, const Tensor& labels, SoftEceOptions o) {
  const Tensor index = checked("soft_ece", logits, labels, o.bins);
  if (!(o.temperature > 0 && o.temperature < INFINITY)) {
    fail("soft_ece", "temperature must be positive and finite, got " + std::to_string(o.temperature));
  }
  if (o.form == Form::definition) return soft_definition(logits, index, o.bins, o.temperature);
  return apply(SoftEce(o.bins, o.temperature), logits, index);
}

std::vector<ReliabilityBin> reliability(const Tensor& logits, const Tensor& labels, Index bins) {
  const Tensor index = checked("reliability", logits, labels, bins);
  std::vector<ReliabilityBin> out(static_cast<std::size_t>(bins));
  const Winners w = winners(logits, index);
  const std::vector<double> conf = w.conf.to_vector(), gap = w.gap.to_vector();
  for (std::size_t r = 0; r < conf.size(); ++r) {
    if (std::isnan(conf[r])) fail("reliability", "a confidence is NaN: are the logits finite?");
    ReliabilityBin& bin = out[std::size_t(bin_of(conf[r], bins))];
    ++bin.count;
    bin.confidence += conf[r];
    bin.accuracy += gap[r] + conf[r];
  }
  for (ReliabilityBin& bin : out) {
    if (bin.count) bin.confidence /= double(bin.count), bin.accuracy /= double(bin.count);
  }
  return out;
}

// ---- for the table of losses

namespace {

std::vector<LossSample> calibration_samples(Rng& rng) {
  const auto inputs = [&](Index N, Index C) {
    return Inputs{{"logits", 2 * randn({N, C}, rng, DType::f64)}, {"labels", randint(C, {N}, rng)}};
  };
  return {
      {"9 rows, 3 classes", inputs(9, 3)},
      {"two classes, 4 bins", inputs(25, 2), {{"bins", 4}}},
      {"many classes, 1 bin", inputs(4, 11), {{"bins", 1}}},
      {"one class", inputs(3, 1)},
      {"no rows", inputs(0, 3)},
      {.what = "logits of 1e4",
       .inputs = {{"logits", tensor({1e4, -1e4, 0, 30, 9000, -1e4, 8, 7, 0}, {3, 3}, DType::f64)},
                  {"labels", labels({1, 1, 0})}},
       .extreme = true},
      {.what = "conf = 1 - 1e-30",
       .inputs = {{"logits", tensor({69, 0, -1}, {1, 3}, DType::f64)}, {"labels", labels({0})}},
       .extreme = true},
  };
}

}  // namespace

Losses calibration_losses() {
  return {{.name = "ece",
           .family = Family::metric,
           .formula = "sum_b n_b/N |acc_b - conf_b|",
           .seeds = "A154 B037 C39 D25",
           .task = "calibration, measured",
           .inputs = {{"logits", "[N,C]", Kind::constant}, {"labels", "[N]", Kind::integer}},
           .options = {{"bins", 15}},
           .run =
               [](const Arguments& a) {
                 return ece(a["logits"], a["labels"], {.bins = a.integer("bins"), .form = a.form});
               },
           .samples = calibration_samples},
          {.name = "soft_ece",
           .family = Family::scheme,
           .formula = "1/N sum_b |sum_r u_rb (hit_r - conf_r)|",
           .seeds = "A155",
           .task = "calibration, added to the training loss",
           .inputs = {{"logits", "[N,C]"}, {"labels", "[N]", Kind::integer}},
           .options = {{"bins", 15}, {"temperature", 0.01}},
           .run =
               [](const Arguments& a) {
                 return soft_ece(a["logits"], a["labels"],
                                 {.bins = a.integer("bins"), .temperature = a.number("temperature"), .form = a.form});
               },
           .samples = calibration_samples}};
}

}  // namespace gradus
