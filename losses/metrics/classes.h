// Metrics of a classifier, all from three counts for each class.                                     [A173, A154]
//
//   hit_c = #{predicted = actual = c},  predicted_c,  actual_c,  N rows that count
//
//   accuracy            sum hit / N
//   balanced_accuracy   mean of hit_c / actual_c over the classes that occur: always the same answer has 1/C
//   precision, recall   hit_c / predicted_c,  hit_c / actual_c
//   f1                  2 hit_c / (predicted_c + actual_c), the harmonic mean of both
//   mean_iou            mean of hit_c / (predicted_c + actual_c - hit_c)
//   group_accuracy      mean of hit_c / actual_c over classes with many, a medium number, or few training rows
//
// macro: the mean over classes that are predicted or actual; micro: the ratio of the sums (with one label a row,
// precision = recall = f1 = accuracy); binary: class 1 alone. Macro f1 is the mean of the classes' f1, not the f1 of
// the means.
//
// Promises. All lie in [0,1]. 0/0 is 0: a class never predicted has precision 0; no rows: 0. The first of equal logits
//   is the prediction. Rows with the target ignore_index count nowhere. The
//   classes are counted on the CPU; of logits on a GPU the greatest are found there.
// Elsewhere. scikit-learn with zero_division=0: the same values. Liu et al. 2019: the three groups.
#pragma once
#include "losses/loss.h"

namespace gradus {

struct ClassCounts {
  std::vector<Index> hit, predicted, actual;  // [C]
  Index rows = 0;
};

struct ClassOptions {
  Index ignore_index = -100;
  Form form = Form::closed;
};

// predictions: logits [N,C], or classes int [N]; target int [N]
ClassCounts class_counts(const Tensor& predictions, const Tensor& target, ClassOptions = {});

double accuracy(const Tensor& predictions, const Tensor& target, ClassOptions = {});
double balanced_accuracy(const Tensor& predictions, const Tensor& target, ClassOptions = {});
double mean_iou(const Tensor& predictions, const Tensor& target, ClassOptions = {});

struct PrecisionRecall {
  double precision = 0, recall = 0, f1 = 0;
};
PrecisionRecall precision_recall(Index hit, Index predicted, Index actual);

enum class ClassAverage { macro, micro, binary };
PrecisionRecall precision_recall(const Tensor& predictions, const Tensor& target, ClassAverage = ClassAverage::macro,
                                 ClassOptions = {});

struct GroupAccuracy {
  double many = 0, medium = 0, few = 0;
};
struct GroupOptions {
  double many = 100, few = 20;  // more than `many` training rows; fewer than `few`
  Index ignore_index = -100;
  Form form = Form::closed;
};
// train_counts [C]: rows of each class in training
GroupAccuracy group_accuracy(const Tensor& predictions, const Tensor& target, const Tensor& train_counts,
                             GroupOptions = {});

Losses class_losses();  // accuracy, balanced_accuracy, precision, recall, f1, mean_iou, group_accuracy

}  // namespace gradus
