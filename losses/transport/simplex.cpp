#include "losses/transport/simplex.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace gradus {
namespace {

constexpr double tiny = 1e-12;

// Each row is  sum_v row[v] x_v = row.back();  the objective row holds reduced costs.
struct Tableau {
  std::vector<std::vector<double>> rows;
  std::vector<double> objective;
  std::vector<std::size_t> basis;  // of each row

  void pivot(std::size_t r, std::size_t enters) {
    std::vector<double>& row = rows[r];
    const double p = row[enters];
    for (double& x : row) x /= p;
    row[enters] = 1;
    for (std::size_t k = 0; k < rows.size(); ++k) {
      if (k != r) eliminate(rows[k], row, enters);
    }
    eliminate(objective, row, enters);
    basis[r] = enters;
  }
  static void eliminate(std::vector<double>& from, const std::vector<double>& row, std::size_t column) {
    const double factor = from[column];
    if (factor == 0) return;
    for (std::size_t v = 0; v < row.size(); ++v) from[v] -= factor * row[v];
    from[column] = 0;
  }
  // The row that limits x_enters first.
  std::size_t leaving(std::size_t enters) const {
    std::size_t best = rows.size();
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t r = 0; r < rows.size(); ++r) {
      if (rows[r][enters] <= 1e-11) continue;
      const double ratio = std::max(0.0, rows[r].back()) / rows[r][enters];
      if (ratio < least || (ratio == least && basis[r] < basis[best])) best = r, least = ratio;
    }
    return best;
  }
  void minimise(std::size_t variables) {
    for (;;) {
      std::size_t enters = 0;
      while (enters < variables && objective[enters] >= -tiny) ++enters;
      if (enters == variables) return;
      const std::size_t leaves = leaving(enters);
      if (leaves == rows.size()) return;  // unbounded: not with costs that are bounded below
      pivot(leaves, enters);
    }
  }
};

}  // namespace

std::vector<double> simplex(std::vector<std::vector<double>> A, const std::vector<double>& b,
                            const std::vector<double>& c) {
  const std::size_t R = A.size(), V = c.size();
  Tableau t{std::move(A), std::vector<double>(V + R + 1, 0.0), {}};
  for (std::size_t r = 0; r < R; ++r) {
    t.rows[r].resize(V + R + 1, 0.0);
    t.rows[r][V + r] = 1;
    t.rows[r].back() = b[r];
    t.basis.push_back(V + r);
    for (std::size_t v = 0; v < V; ++v) t.objective[v] -= t.rows[r][v];
  }
  t.minimise(V);
  // An artificial variable may be left in the basis, at 0: any variable of its row may take its place.
  for (std::size_t r = 0; r < R; ++r) {
    if (t.basis[r] < V) continue;
    std::size_t v = 0;
    while (v < V && std::abs(t.rows[r][v]) < 1e-9) ++v;
    if (v < V) t.pivot(r, v);
  }
  t.objective.assign(V + R + 1, 0.0);
  std::copy(c.begin(), c.end(), t.objective.begin());
  for (std::size_t r = 0; r < R; ++r) Tableau::eliminate(t.objective, t.rows[r], t.basis[r]);
  t.minimise(V);
  std::vector<double> x(V, 0.0);
  for (std::size_t r = 0; r < R; ++r) {
    if (t.basis[r] < V) x[t.basis[r]] = std::max(0.0, t.rows[r].back());
  }
  return x;
}

}  // namespace gradus
