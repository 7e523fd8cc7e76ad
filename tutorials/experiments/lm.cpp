// A causal transformer that predicts the next character of a text; cross entropy, measured in bits per character on the
// last tenth of the text, beside n-gram models that saw the same training part.
#include <cmath>

#include "engine/tape.h"
#include "losses/softmax/cross_entropy.h"
#include "models/transformer.h"
#include "tutorials/datasets/ngram.h"
#include "tutorials/datasets/text.h"
#include "tutorials/datasets/vocabulary.h"
#include "tutorials/experiments/experiment.h"

namespace gradus::experiments {
namespace {

constexpr Index B = 16, T = 64, D = 96;  // batch, context, width
constexpr Index unscored = -100;         // cross_entropy's ignore_index

struct Windows {
  Tensor x, y;  // [B,T] ids and [B*T] the ids after them
};

// B windows of the text that start at `starts`; targets before `scored_from` are left out.
Windows windows(const Tensor& text, const std::vector<Index>& starts, Index scored_from = 0) {
  Windows w{empty({Index(starts.size()), T}, DType::i64, Device::cpu()),
            empty({Index(starts.size()) * T}, DType::i64, Device::cpu())};
  const Index* ids = text.data<Index>();
  Index *x = w.x.data_mut<Index>(), *y = w.y.data_mut<Index>();
  for (const Index start : starts) {
    for (Index at = start; at < start + T; ++at) {
      *x++ = ids[at];
      *y++ = at + 1 < scored_from ? unscored : ids[at + 1];
    }
  }
  return {w.x.to(default_device()), w.y.to(default_device())};
}

Tensor mean_loss(Transformer& model, const Windows& w, Reduction reduction) {
  return cross_entropy(model(w.x).reshape({w.y.numel(), -1}), w.y, {.ignore_index = unscored, .reduction = reduction});
}

// Every character but the first is predicted once, from at least T/2 characters before it where there are so many.
double bits_per_character(Transformer& model, const Tensor& text) {
  double nats = 0;
  const Index last_start = text.numel() - 1 - T;
  for (Index scored = 1; scored < text.numel();) {
    const Index start = std::clamp<Index>(scored - T / 2, 0, last_start);
    nats += mean_loss(model, windows(text, {start}, scored), Reduction::sum).item();
    scored = start + T + 1;
  }
  return nats / double(text.numel() - 1) / std::log(2.0);
}

Outcome run(const Request& request) {
  const std::string text = request.data.empty() ? default_text() : read_text(request.data);
  TrainOptions options = options_for(lm(), request, text);
  const TextSplit split = split_text(text);
  const CharVocabulary characters(split.train);
  const Tensor train_ids = characters.encode(split.train), held_out = characters.encode(split.held_out);
  if (held_out.numel() < 2 * T) {
    fail("train", "the text has " + std::to_string(text.size()) + " bytes; a tenth of it must hold " +
                      std::to_string(2 * T) + " characters: give a longer one with --data");
  }

  Outcome outcome;
  const char* names[] = {"unigram (order 0)", "bigram (order 1)", "order 2", "order 3", "order 4"};
  for (int order = 0; order <= 4; ++order) {
    const double bits = Ngram(train_ids, characters.size(), order).bits_per_symbol(held_out);
    outcome.baselines.push_back({names[order], "held-out bits/char", bits});
  }

  Transformer model({.vocabulary = characters.size(),
                     .width = D,
                     .heads = 4,
                     .layers = 2,
                     .context = T,
                     .position = Position::rotary,
                     .dropout = 0.1},
                    Rng(request.seed + 1));
  AdamW optimizer(model.parameters(), {.lr = 4e-3, .weight_decay = 0.1});
  options.items_per_step = B * T;
  options.clip_norm = 1;
  options.schedule = [steps = options.steps](Index step) {
    return warmup_cosine(step, std::min<Index>(50, steps / 10), steps, 0.02);
  };
  const auto loss = [&](Index step) {
    Rng rng(request.seed);
    rng.seek(std::uint64_t(step) * B);  // the batch is a function of the step
    std::vector<Index> starts(B);
    for (Index& start : starts) start = rng.index(train_ids.numel() - T);
    return mean_loss(model, windows(train_ids, starts), Reduction::mean);
  };
  const auto test = [&] { return Metrics{{"held-out bits/char", bits_per_character(model, held_out)}}; };
  const double bits = measured(train(model, optimizer, loss, options, test));
  outcome.results = {{"transformer, 2 layers, width 96", "held-out bits/char", bits}};
  return outcome;
}

}  // namespace

Experiment lm() {
  return {"lm",
          "cross_entropy",
          "next character by a causal transformer",
          "the licence texts of Debian, or --data FILE",
          nullptr,
          3000,
          run};
}

}  // namespace gradus::experiments
