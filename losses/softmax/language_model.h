// Cross entropy as language models use it: masked words, next sentence, perplexity.       [A020, A137, A138; C88, C89]
//
//   mlm          L = -sum_{positions with label != ignore} log softmax(z_bt)_{y_bt}    z [B,T,V] logits, y [B,T] labels
//   nsp          L = -[y log P_1 + (1 - y) log P_0],   P = softmax(z)                  z [N,2] logits, y 0 or 1
//   perplexity   L = e^{CE},   CE the mean over rows                                   z [N,C] logits
//
// Derivation. The first two are cross_entropy: over all tokens, and over two classes, whose terms y and 1 - y it picks.
//   dmlm/dz_btj = p_btj - [j = y_bt]        dnsp/dz_j = p_j - [j = y]        dperplexity/dz = perplexity dCE/dz
//
// Promises. mlm predicts each masked word on its own, from a text in which all masked words are hidden: for two words
//   that determine each other it is 2 log 2, though together they hold log 2 and each is certain given the other (C89).
//   nsp >= 0. Of its source's formula, read without the missing brackets, a wrong "no" is a reward without limit (C88).
//   No position left: mlm and nsp 0; perplexity 1, that of certainty; gradient 0.
//   Perplexity is finite while the true value is: CE up to 88.7 in f32, 709.7 in f64, beyond that infinity with a
//   gradient that is infinite or NaN. Its gradient is that of CE, larger by perplexity: train CE, or begin near a
//   trained model.
// Elsewhere. PyTorch: F.cross_entropy after view(-1, V), NaN when nothing is masked. BERT's nsp has class 0 for
//   "is the next sentence"; here the classes mean what the caller says.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct MlmOptions {
  Index ignore_index = -100;              // positions with this label are not masked
  Reduction reduction = Reduction::mean;  // mean divides by the number of masked positions
  Form form = Form::closed;
};

// logits [B,T,V], labels int [B,T] -> [] or [B,T]
Tensor mlm(At logits, const Tensor& labels, MlmOptions = {});

struct NspOptions {
  Index ignore_index = -100;
  Reduction reduction = Reduction::mean;  // mean divides by the number of rows kept
  Form form = Form::closed;
};

// logits [N,2], labels int [N] -> [] or [N]
Tensor nsp(At logits, const Tensor& labels, NspOptions = {});

struct PerplexityOptions {
  Index ignore_index = -100;
  Form form = Form::closed;
};

// logits [N,C], labels int [N] -> []
Tensor perplexity(At logits, const Tensor& target, PerplexityOptions = {});

Losses language_model_losses();  // mlm, nsp, perplexity

}  // namespace gradus
