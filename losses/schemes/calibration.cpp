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

// A row's winner: conf = 1 / (1 + rest), gap = hit - conf
struct Winner {
  double conf, gap;
  Index k;
};

template <class T> Winner winner(const T* z, Index C, Index label) {
  const Index k = CpuTeam{}.argmax<T>(C, [=](Index j) { return z[j]; });
  double rest = 0;
  for (Index j = 0; j < C; ++j) rest += j == k ? 0 : vmath::exp(double(z[j]) - double(z[k]));
  return {1 / (1 + rest), k == label ? rest / (1 + rest) : -1 / (1 + rest), k};
}

std::vector<Winner> winners(const Tensor& logits, const Tensor& labels) {
  const Index N = logits.size(0), C = logits.size(1);
  std::vector<Winner> all(static_cast<std::size_t>(N));
  dispatch_float("ece", logits.dtype(), [&]<class T>() {
    const T* z = logits.data<T>();
    const Index* label = labels.data<Index>();
    parallel_for(N, std::max<Index>(1, serial_below / C), [&](Index begin, Index end) {
      for (Index r = begin; r < end; ++r) all[std::size_t(r)] = winner(z + r * C, C, label[r]);
    });
  });
  return all;
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

Tensor centres(Index B, DType dtype) { return (arange(B, dtype) + 0.5) / double(B); }  // [B]

Tensor soft_definition(At logits, const Tensor& labels, Index B, double T) {
  const Index N = logits->size(0);
  if (N == 0) return sum(logits);
  const Tensor conf = confidences(logits).reshape({N, 1}), hit = hits(logits, labels).reshape({N, 1});  // [N,1]
  const Tensor u = softmax(-square(conf - centres(B, logits->dtype())) / T);                            // [N,B]
  return sum(abs(sum(u * (hit - conf), {0}))) / double(N);
}

// ---- as the derivations end

double ece_closed(const Tensor& logits, const Tensor& labels, Index B) {
  std::vector<double> G(static_cast<std::size_t>(B));
  bool poison = false;
  for (const Winner& w : winners(logits, labels)) {
    if (std::isnan(w.conf))
      poison = true;
    else
      G[std::size_t(bin_of(w.conf, B))] += w.gap;
  }
  double total = poison ? NAN : 0;
  for (const double g : G) total += std::abs(g);
  return logits.size(0) ? total / double(logits.size(0)) : 0;
}

// u_b = softmax_b( -(conf - x_b)^2 / T )
void memberships(double conf, double T, std::vector<double>& u) {
  const double B = double(u.size());
  double top = -INFINITY, total = 0;
  for (std::size_t b = 0; b < u.size(); ++b) {
    const double x = (double(b) + 0.5) / B;
    u[b] = -(conf - x) * (conf - x) / T;
    top = std::max(top, u[b]);
  }
  for (double& v : u) total += v = vmath::exp(v - top);
  for (double& v : u) v /= total;
}

// L = 1/N sum_b |sum_r u_rb e_r|,  e = hit - conf
// dL/dz_j = [2 e / T (bar(s x) - bar(s) bar(x)) - bar(s)] conf ([j = k] - p_j),  s_b = sign(G_b) / N
struct SoftEce final : Op {
  Index B;
  double temperature;
  std::vector<Winner> rows;
  std::vector<double> s;
  SoftEce(Index bins, double T) : B(bins), temperature(T) {}
  const char* name() const override { return "soft_ece"; }

  Tensor forward(In in) override {
    rows = winners(in[0], in[1]);
    std::vector<double> G(static_cast<std::size_t>(B)), u(G.size());
    for (const Winner& w : rows) {
      memberships(w.conf, temperature, u);
      for (std::size_t b = 0; b < u.size(); ++b) G[b] += u[b] * w.gap;
    }
    const double n = std::max(1.0, double(rows.size()));
    double total = 0;
    s.assign(G.size(), 0);
    for (std::size_t b = 0; b < G.size(); ++b) {
      total += std::abs(G[b]) / n;
      s[b] = double((G[b] > 0) - (G[b] < 0)) / n;
    }
    return full({}, total, in[0].dtype());
  }

  // dL/dconf of a row
  double slope(const Winner& w, std::vector<double>& u) const {
    memberships(w.conf, temperature, u);
    double mean_s = 0, mean_x = 0, mean_sx = 0;
    for (std::size_t b = 0; b < u.size(); ++b) {
      const double x = (double(b) + 0.5) / double(B);
      mean_s += u[b] * s[b];
      mean_x += u[b] * x;
      mean_sx += u[b] * s[b] * x;
    }
    return 2 * w.gap / temperature * (mean_sx - mean_s * mean_x) - mean_s;
  }
  void backward(const Tensor& dy, In in, const Tensor&, Out dx) override {
    const Index C = in[0].size(1);
    std::vector<double> u(static_cast<std::size_t>(B));
    dispatch_float(name(), dy.dtype(), [&]<class T>() {
      const T* z = in[0].data<T>();
      T* dz = dx.into(0).template data_mut<T>();
      for (std::size_t r = 0; r < rows.size(); ++r, z += C, dz += C) {
        const Winner& w = rows[r];
        const double g = dy.item() * slope(w, u) * w.conf;
        double others = 0;
        for (Index j = 0; j < C; ++j) {
          const double p = j == w.k ? 0 : w.conf * vmath::exp(double(z[j]) - double(z[w.k]));
          others += p;
          dz[j] -= T(g * p);
        }
        dz[w.k] += T(g * others);  // 1 - p_k
      }
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
  return full({}, value, logits.dtype());
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
  for (const Winner& w : winners(logits, index)) {
    if (std::isnan(w.conf)) fail("reliability", "a confidence is NaN: are the logits finite?");
    ReliabilityBin& bin = out[std::size_t(bin_of(w.conf, bins))];
    ++bin.count;
    bin.confidence += w.conf;
    bin.accuracy += w.gap + w.conf;
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
