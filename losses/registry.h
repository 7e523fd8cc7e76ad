// Every file of losses: its header, and its line in the table. <gradus.h> brings them all.
#pragma once
#include "losses/combine/generalised_mean.h"
#include "losses/combine/gradient_balance.h"
#include "losses/combine/gradnorm.h"
#include "losses/combine/gram_weights.h"
#include "losses/combine/learned.h"
#include "losses/combine/normalised.h"
#include "losses/combine/schedule.h"
#include "losses/combine/weighted.h"
#include "losses/distance/brier.h"
#include "losses/distance/contrastive.h"
#include "losses/distance/cosine.h"
#include "losses/distance/log_cosh.h"
#include "losses/distance/mahalanobis.h"
#include "losses/distance/proximal.h"
#include "losses/distance/reconstruction.h"
#include "losses/distance/regression.h"
#include "losses/distance/tree.h"
#include "losses/distance/triplet.h"
#include "losses/distance/triplet_mining.h"
#include "losses/logsumexp/angle.h"
#include "losses/logsumexp/circle.h"
#include "losses/logsumexp/cosent.h"
#include "losses/logsumexp/crf.h"
#include "losses/logsumexp/global_pointer.h"
#include "losses/logsumexp/hybrid.h"
#include "losses/logsumexp/info_nce.h"
#include "losses/logsumexp/mining.h"
#include "losses/logsumexp/multilabel.h"
#include "losses/logsumexp/multilabel_soft.h"
#include "losses/logsumexp/multilabel_sparse.h"
#include "losses/logsumexp/nm.h"
#include "losses/logsumexp/nm_variants.h"
#include "losses/logsumexp/nt_xent.h"
#include "losses/logsumexp/pointer_loss.h"
#include "losses/logsumexp/pointer_scores.h"
#include "losses/logsumexp/span.h"
#include "losses/logsumexp/span_bce.h"
#include "losses/logsumexp/supcon.h"
#include "losses/loss.h"
#include "losses/metrics/classes.h"
#include "losses/metrics/ranking.h"
#include "losses/metrics/regression.h"
#include "losses/metrics/span_f1.h"
#include "losses/metrics/spearman.h"
#include "losses/schemes/active.h"
#include "losses/schemes/bald.h"
#include "losses/schemes/calibration.h"
#include "losses/schemes/curriculum.h"
#include "losses/schemes/mixup.h"
#include "losses/schemes/sampling.h"
#include "losses/schemes/selection.h"
#include "losses/schemes/self_paced.h"
#include "losses/schemes/temperature.h"
#include "losses/softmax/bce.h"
#include "losses/softmax/class_balanced.h"
#include "losses/softmax/cross_entropy.h"
#include "losses/softmax/distillation.h"
#include "losses/softmax/divergence.h"
#include "losses/softmax/emo.h"
#include "losses/softmax/emo_expected_cost.h"
#include "losses/softmax/entropy.h"
#include "losses/softmax/focal.h"
#include "losses/softmax/focal_sigmoid.h"
#include "losses/softmax/gamma_ce.h"
#include "losses/softmax/gce.h"
#include "losses/softmax/language_model.h"
#include "losses/softmax/ldam.h"
#include "losses/softmax/linear_cross_entropy.h"
#include "losses/softmax/nll.h"
#include "losses/softmax/poly1.h"
#include "losses/transport/emd.h"
#include "losses/transport/ot_soft.h"
#include "losses/transport/sinkhorn.h"
#include "losses/transport/wasserstein.h"
#include "losses/transport/wasserstein_histogram.h"

namespace gradus {

inline constexpr Losses (*loss_files[])() = {
    cross_entropy_losses,
    bce_losses,
    class_balanced_losses,
    distillation_losses,
    divergence_losses,
    emo_losses,
    emo_expected_cost_losses,
    entropy_losses,
    focal_losses,
    focal_sigmoid_losses,
    gamma_ce_losses,
    gce_losses,
    language_model_losses,
    linear_cross_entropy_losses,
    ldam_losses,
    nll_losses,
    poly1_losses,
    angle_losses,
    circle_losses,
    cosent_losses,
    crf_losses,
    global_pointer_losses,
    hybrid_losses,
    info_nce_losses,
    mining_losses,
    multilabel_losses,
    multilabel_soft_losses,
    multilabel_sparse_losses,
    nm_losses,
    nm_variant_losses,
    nt_xent_losses,
    pointer_scores_losses,
    span_losses,
    span_bce_losses,
    supcon_losses,
    brier_losses,
    contrastive_losses,
    cosine_losses,
    log_cosh_losses,
    mahalanobis_losses,
    proximal_losses,
    reconstruction_losses,
    regression_losses,
    tree_losses,
    triplet_losses,
    triplet_mining_losses,
    emd_losses,
    ot_soft_losses,
    sinkhorn_losses,
    wasserstein_losses,
    wasserstein_histogram_losses,
    generalised_mean_losses,
    gradient_balance_losses,
    gradnorm_losses,
    learned_losses,
    normalised_losses,
    weighted_losses,
    active_losses,
    bald_losses,
    calibration_losses,
    curriculum_losses,
    mixup_losses,
    selection_losses,
    self_paced_losses,
    temperature_losses,
    class_losses,
    ranking_losses,
    regression_metric_losses,
    span_f1_losses,
    spearman_losses,
};

}  // namespace gradus
