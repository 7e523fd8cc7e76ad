#include "losses/loss.h"

#include <algorithm>

#include "losses/registry.h"

namespace gradus {
namespace {

// How many letters must be put in, left out or changed to make b of a (Levenshtein 1966).
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

const char* name_of(Family family) {
  constexpr const char* names[] = {"softmax", "logsumexp", "distance", "transport", "combine", "scheme", "metric"};
  return names[int(family)];
}

const Losses& all_losses() {
  static const Losses all = [] {
    Losses found;
    for (const auto losses : loss_files) {
      for (LossInfo& info : losses()) found.push_back(std::move(info));
    }
    return found;
  }();
  return all;
}

const LossInfo& find_loss(const std::string& name) {
  std::string near;
  for (const LossInfo& info : all_losses()) {
    const std::string known = info.name;
    if (known == name) return info;
    const bool contains = name.size() > 2 && known.find(name) != std::string::npos;
    if (contains || edits(known, name) <= 3) near += (near.empty() ? "; did you mean " : ", ") + known;
  }
  fail("loss", "there is no loss '" + name + "'" + (near.empty() ? "; `gradus list` names all" : near + "?"));
}

}  // namespace gradus
